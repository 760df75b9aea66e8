"""Listing a directory tree in key order against find, sorted as bytes."""

import json
import os
import shutil

from measure import MEBIBYTE, CannotMeasure, figure, heading, measured, ratio, say, side_by_side


def fill(directory, count):
    os.makedirs(directory)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for index in range(count):
        os.close(os.open(f"avatar-{index * 2654435761 % 4294967296:08x}.png", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
    os.close(handle)


def make_deep(root, files):
    """100 folders of 100 folders, the files spread over them."""
    for folder in range(10_000):
        fill(root / f"u{folder // 100:02}" / f"{folder % 100:02}", files // 10_000)


def one_tree(place, name, files, make):
    root = place.work / "tree"
    say(f"making {files:,} files, {name}")
    try:
        make(root, files)
        compare(place, name, root, files)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def compare(place, name, root, files):
    drill = place.work / "walk.yaml"
    drill.write_text(
        f"""
drill: bench-walk
backup:
  database: {{ kind: restored, server: "{place.server}" }}
  objects: [ {{ bucket: bench, kind: directory, path: "{root}" }} ]
probes:
  - {{ name: avatars, kind: references, table: public.avatars, key: avatar_key, bucket: bench }}
"""
    )

    def walk():
        run = measured([place.bench, "list", drill], output=True)
        if json.loads(run.output)["count"] != files:
            raise CannotMeasure(f"the walk found other than {files} files: {run.output}")
        return run

    def find():
        script = "set -o pipefail; find \"$0\" -type f -printf '%P\\t%s\\t%T@\\n' | LC_ALL=C sort >/dev/null"
        return measured(["bash", "-c", script, root])

    find()  # names and inodes are in memory for both
    results = side_by_side(place.runs, walk=walk, find=find)
    heading(f"walk: {files:,} files, {name}")
    peer = figure("find -printf | LC_ALL=C sort", [run.wall for run in results["find"]])
    seconds = figure("the walk, whole process", [run.wall for run in results["walk"]])
    figure("CPU of the walk", [run.cpu for run in results["walk"]])
    ratio("walk / find", seconds, peer, target=1.0)
    figure("peak resident memory", [run.peak / MEBIBYTE for run in results["walk"]], "MiB", target=128)


def main(place):
    files = place.sizes[0]
    one_tree(place, "in 100 x 100 folders", files, make_deep)
    one_tree(place, "in one folder", files, fill)
