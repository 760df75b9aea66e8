#!/usr/bin/env python3
"""Counts what `swift test` reported: results.py EVENTS, a file that --event-stream-output-path wrote.

The events are complete up to the moment of a crash or a kill, and nothing that a test prints can be taken for a result,
which holds for neither in the printed lines. Names skipped tests and tests that began and never ended, which count as
failed; the last line is `PASSED FAILED`.
"""

import json
import sys


def main(path):
    names, started, skipped, passed, failed = {}, set(), set(), set(), set()
    with open(path, encoding="utf-8") as events:
        for line in events:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line of a process that died while writing it
            payload = record["payload"]
            if record["kind"] == "test":
                if payload["kind"] == "function":
                    names[payload["id"]] = payload.get("displayName", payload["name"])
                continue
            test = payload.get("testID")
            if test not in names:
                continue  # the run, or a suite
            if payload["kind"] == "testStarted":
                started.add(test)
            elif payload["kind"] == "testSkipped":
                skipped.add(test)
            elif payload["kind"] == "testEnded":
                symbols = [message["symbol"] for message in payload["messages"]]
                (failed if "fail" in symbols else passed).add(test)
    unfinished = started - skipped - passed - failed
    for test in sorted(skipped):
        print("skipped:", names[test])
    for test in sorted(failed):
        print("failed:", names[test])
    for test in sorted(unfinished):
        print("began and did not end:", names[test])
    print(len(passed - failed), len(failed | unfinished))


main(sys.argv[1])
