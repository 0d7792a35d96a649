#!/usr/bin/env python3
"""How many cases of schemathesis each operation has had, and what was answered.

usage: sum-up-fuzz.py FOLDER LEAST

Reads FOLDER/LISTENER.CALLER.ndjson, which .ci/fuzz has written, beside docs/openapi/LISTENER.json. Fails where an operation
had no case, where fewer than LEAST were sent in all, and on any answer of 500 or above, whatever else has looked at it.
"""

import collections
import json
import pathlib
import sys

METHODS = {"get", "post", "put", "patch", "delete"}


def operations(listener):
    document = json.loads(pathlib.Path("docs/openapi", f"{listener}.json").read_text())
    return [(method.upper(), path) for path, item in document["paths"].items() for method in item if method in METHODS]


def answers(report):
    """Method, path and status of each case; status 0: no answer."""
    with report.open() as lines:
        for line in lines:
            finished = json.loads(line).get("ScenarioFinished", {})
            recorder = finished.get("recorder", {})
            asked = recorder.get("interactions", {})
            for name, case in recorder.get("cases", {}).items():
                answer = asked.get(name, {}).get("response") or {}
                yield case["value"]["method"], case["value"]["path"], answer.get("status_code", 0)


def main(folder, least):
    complaints, total = [], 0
    reports = collections.defaultdict(list)
    for report in sorted(pathlib.Path(folder).glob("*.ndjson")):
        reports[report.name.split(".")[0]].append(report)
    for listener, of_listener in sorted(reports.items()):
        seen = {operation: collections.Counter() for operation in operations(listener)}
        others = ("-", "methods that are not documented")
        for report in of_listener:
            for method, path, status in answers(report):
                counter = seen.get((method, path))
                if counter is None:
                    counter = seen.setdefault(others, collections.Counter())
                counter[status] += 1
                if status >= 500:
                    complaints.append(f"{report.name}: {method} {path} answered {status}")
        print(f"\n{listener}")
        for (method, path), statuses in seen.items():
            cases = sum(statuses.values())
            total += cases
            told = ", ".join(f"{status or 'no answer'}: {count}" for status, count in sorted(statuses.items()))
            print(f"{cases:6}  {method:6} {path}  ({told})")
            if not cases:
                complaints.append(f"{listener}: {method} {path} had no case")
    print(f"\n{total:6}  cases in all")
    if total < least:
        complaints.append(f"fewer than {least} cases")
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
