"""The benchmarks of Tests/bench.sh, which starts what they need and gives it by MUSTER_BENCH_* and MUSTER_TEST_*."""

import argparse
import importlib
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

from measure import CannotMeasure, say

BENCHMARKS = ["references", "walk", "s3", "gateway", "restore", "recovery", "backup_tools", "snapshot"]
PRODUCTS = {
    "s3": ["muster-bench", "s3-stand-in"],
    "restore": ["muster"],
    "recovery": ["muster"],
    "backup_tools": ["muster"],
    "snapshot": ["muster"],
}


@dataclass
class Place:
    """What a benchmark works with."""

    work: pathlib.Path  # a folder of its own, removed by bench.sh
    server: str  # a libpq connection string without blanks that need quoting
    bench: pathlib.Path  # muster-bench
    muster: pathlib.Path
    stand_in: pathlib.Path  # the S3 stand-in
    runs: int
    sizes: list  # how many rows, keys or files; ascending


def at_least_three(text):
    if int(text) < 3:
        raise argparse.ArgumentTypeError("a median wants 3 runs or more")
    return int(text)


def main():
    parser = argparse.ArgumentParser(prog="Tests/bench.sh")
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of: {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many rows, keys or files (1000000)")
    parser.add_argument("--large", action="store_true", help="ten times as many as well")
    parser.add_argument("--runs", type=at_least_three, default=3, help="of each figure (3)")
    parser.add_argument("--needs", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark '{name}'; there are: {', '.join(BENCHMARKS)}")
    chosen = options.benchmarks or BENCHMARKS
    if options.needs:
        print(*sorted({product for name in chosen for product in PRODUCTS.get(name, ["muster-bench"])}))
        return 0
    binaries = pathlib.Path(os.environ["MUSTER_BENCH_BIN"])
    place = Place(
        work=pathlib.Path(os.environ["MUSTER_BENCH_WORK"]),
        server=os.environ["MUSTER_TEST_PG_SOCKET"],
        bench=binaries / "muster-bench",
        muster=binaries / "muster",
        stand_in=binaries / "s3-stand-in",
        runs=options.runs,
        sizes=[options.rows, options.rows * 10] if options.large else [options.rows],
    )
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    failed = []
    for name in chosen:
        try:
            importlib.import_module(name).main(place)
        except (CannotMeasure, OSError, subprocess.CalledProcessError) as error:
            say(f"{name}: {error}")
            failed.append(name)
    if failed:
        say(f"could not measure: {', '.join(failed)}")
    return 1 if failed else 0


sys.exit(main())
