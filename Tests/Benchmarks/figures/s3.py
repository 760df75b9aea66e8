"""The probe against buckets of the S3 stand-in, beside rclone, curl and one request at a time."""

import contextlib
import json
import os
import subprocess
import time

from measure import MEBIBYTE, CannotMeasure, figure, heading, measured, median, ratio, say, side_by_side
from references import make_table, psql

BUCKET = "bench"
KEY_FORMAT = "uploads/app/users/{i}/avatar-{hash}.png"
PAGE = 1000
# Behind the last version of each key.
INSTANT = "2026-02-01"
ACCESS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_EC2_METADATA_DISABLED": "true"}


class StandIn:
    """A stand-in that runs; `summary` holds its counters once it has ended."""

    access = ACCESS

    def __init__(self, place, keys, *options):
        port_file = place.work / "s3-port"
        port_file.unlink(missing_ok=True)
        command = [place.stand_in, "--port-file", port_file, "--generated-bucket", BUCKET, "--keys", str(keys)]
        command += ["--key-format", KEY_FORMAT, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise CannotMeasure("the S3 stand-in does not start")
            time.sleep(0.01)
        self.endpoint = f"http://127.0.0.1:{port_file.read_text().strip()}"
        self.summary = {}

    def stop(self):
        self.process.terminate()
        lines = self.process.communicate()[0].splitlines()
        if lines:
            self.summary = json.loads(lines[-1])


@contextlib.contextmanager
def stand_in(place, keys, *options):
    server = StandIn(place, keys, *options)
    try:
        yield server
    finally:
        server.stop()


def probe(place, server, table, rows, kind="s3", settings="", timings=None):
    """One drill of the whole table; its probe's seconds are added to `timings`."""
    drill = place.work / "s3.yaml"
    target = f"target: {INSTANT}T00:00:00Z" if kind == "s3_versions" else ""
    drill.write_text(
        f"""
drill: bench-s3
scratch: {{ directory: "{place.work}" }}
backup:
  {target}
  database: {{ kind: restored, server: "{place.server}" }}
  objects: [ {{ bucket: {BUCKET}, kind: {kind}, endpoint: "{server.endpoint}", path_style: true{settings} }} ]
probes:
  - {{ name: avatars, kind: references, table: public.{table}, key: avatar_key, size: avatar_bytes, bucket: {BUCKET} }}
"""
    )
    run = measured([place.bench, "drill", drill, place.work / "reports"], output=True, env=os.environ | server.access)
    answer = json.loads(run.output)
    if answer["count"] != rows:
        raise CannotMeasure(f"the probe examined {answer['count']} of {rows} references")
    if timings is not None:
        timings.append(answer["seconds"])
    return run


def rclone(server, *arguments):
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_BENCH_REGION": "us-east-1",
        "RCLONE_CONFIG_BENCH_LIST_URL_ENCODE": "true",
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": server.access["AWS_ACCESS_KEY_ID"],
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": server.access["AWS_SECRET_ACCESS_KEY"],
    }
    return measured(["rclone", "lsf", *arguments, f"bench:{BUCKET}"], env=os.environ | remote)


def rclone_list(server, *arguments):
    return rclone(server, "-R", "--fast-list", "--files-only", "--format", "ps", *arguments)


def overlap(place, server, table, rows):
    """The sorted COPY and a listing by curl, whose pages all begin at keys known before, side by side."""
    pages = place.work / "pages.curl"
    starts = psql(place, f'SELECT avatar_key FROM public.{table} WHERE id % {PAGE} = {PAGE - 1} ORDER BY id').split()
    with open(pages, "w") as file:
        for start in ["", *starts[: (rows - 1) // PAGE]]:
            url = f"{server.endpoint}/{BUCKET}?list-type=2&encoding-type=url&start-after={start}"
            file.write(f'url = "{url}"\noutput = "/dev/null"\n')
    copy = (
        f'COPY (SELECT avatar_key, avatar_bytes FROM public.{table} ORDER BY avatar_key COLLATE "C") '
        "TO STDOUT (FORMAT binary)"
    )
    script = 'psql -X -q -d "$0" -c "$1" >/dev/null & curl -sS -f -K "$2" && wait $!'

    def run():
        return measured(["sh", "-c", script, place.server, copy, pages])

    return run


def clean(place, rows, with_rclone):
    table = make_table(place, rows)
    timings = []
    with stand_in(place, rows) as server:
        subjects = {
            "overlap": overlap(place, server, table, rows),
            "probe": lambda: probe(place, server, table, rows, timings=timings),
        }
        if with_rclone:
            subjects["rclone"] = lambda: rclone_list(server)
        results = side_by_side(place.runs, **subjects)
    psql(place, f"DROP TABLE public.{table}")
    heading(f"s3: {rows:,} rows, {rows:,} keys")
    yardstick = figure("overlap: COPY and a listing by curl", [run.wall for run in results["overlap"]])
    seconds = figure("the probe", timings)
    process = figure("the whole process", [run.wall for run in results["probe"]])
    figure("CPU of the process, a million rows", [run.cpu * 1e6 / rows for run in results["probe"]], target=1.2)
    ratio("process / overlap", process, yardstick, target=1.2)
    if with_rclone:
        ratio("rclone / process", median([run.wall for run in results["rclone"]]), process, at_least=20)
    peak = figure("peak resident memory", [run.peak / MEBIBYTE for run in results["probe"]], "MiB", target=128)
    return seconds, peak


def latency(place, rows):
    table = make_table(place, rows)
    counts, allowed = [], []
    with stand_in(place, rows, "--latency-ms", "30") as server:
        results = side_by_side(
            place.runs,
            one=lambda: probe(place, server, table, rows, settings=", listing: list, concurrency: 1"),
            rclone=lambda: rclone_list(server),
        )
    for _ in range(place.runs):
        with stand_in(place, rows, "--latency-ms", "30") as server:
            results.setdefault("wide", []).append(probe(place, server, table, rows, settings=", listing: list"))
        counts.append(server.summary["requests"])
        allowed.append(1.1 * -(-rows // PAGE) + 2 * server.summary["listings_begun"])
    psql(place, f"DROP TABLE public.{table}")
    heading(f"s3: {rows:,} rows and keys, 30 ms a request")
    wide = figure("32 requests in flight", [run.wall for run in results["wide"]])
    ratio("one request at a time / 32 in flight", median([run.wall for run in results["one"]]), wide, at_least=16)
    ratio("rclone / 32 in flight", median([run.wall for run in results["rclone"]]), wide, at_least=25)
    ratio("requests / (1.10 x pages + 2 x ranges)", median(counts), median(allowed), target=1)


def versions(place, keys=100_000):
    """Three versions a key; the newest are what the rows name."""
    table = make_table(place, keys)
    psql(place, f"UPDATE public.{table} SET avatar_bytes = 1000 + (id * 7919 + 2) % 9000")
    with stand_in(place, keys, "--versions", "3") as server:
        results = side_by_side(
            place.runs,
            probe=lambda: probe(place, server, table, keys, kind="s3_versions"),
            rclone=lambda: rclone_list(server, "--s3-version-at", INSTANT),
        )
    psql(place, f"DROP TABLE public.{table}")
    heading(f"s3: {keys:,} keys of 3 versions, at an instant")
    process = figure("the whole process", [run.wall for run in results["probe"]])
    ratio("rclone --s3-version-at / process", median([run.wall for run in results["rclone"]]), process, at_least=20)


def heads(place, keys=20_000):
    table = make_table(place, keys)
    names = place.work / "keys.txt"
    names.write_text(psql(place, f"SELECT avatar_key FROM public.{table}"))
    with stand_in(place, keys) as server:
        results = side_by_side(
            place.runs,
            probe=lambda: probe(place, server, table, keys, settings=", listing: head, concurrency: 64"),
            rclone=lambda: rclone(
                server, "-R", "--no-traverse", "--checkers", "64", "--files-from-raw", str(names), "--format", "ps"
            ),
        )
    psql(place, f"DROP TABLE public.{table}")
    heading(f"s3: HEAD for each of {keys:,} keys")
    process = figure("the whole process", [run.wall for run in results["probe"]])
    peer = figure("rclone --no-traverse --checkers 64", [run.wall for run in results["rclone"]])
    ratio("process / rclone", process, peer, target=1.0)


def faults(place, rows):
    table = make_table(place, rows)
    runs = {"clean": [], "spoilt": []}
    counts = {"clean": [], "spoilt": []}
    options = {"clean": [], "spoilt": ["--slow-down-share", "0.05", "--cut-share", "0.01"]}
    for seed in range(place.runs):
        for name in runs:
            with stand_in(place, rows, *options[name], "--seed", str(seed + 1)) as server:
                runs[name].append(probe(place, server, table, rows))
            counts[name].append(server.summary["requests"])
    psql(place, f"DROP TABLE public.{table}")
    heading(f"s3: {rows:,} rows and keys, 5 % of answers 503 and 1 % cut short")
    calm = figure("none spoilt", [run.wall for run in runs["clean"]])
    spoilt = figure("spoilt", [run.wall for run in runs["spoilt"]])
    ratio("spoilt / none spoilt", spoilt, calm, target=2)
    ratio("requests: spoilt / none spoilt", median(counts["spoilt"]), median(counts["clean"]), target=1.15)


def main(place):
    seen = [clean(place, rows, with_rclone=rows == place.sizes[0]) for rows in place.sizes]
    if len(seen) > 1:
        ratio(f"{place.sizes[-1]:,} rows / {place.sizes[0]:,}", seen[-1][0], seen[0][0], target=12)
        ratio("peak memory of the same", seen[-1][1], seen[0][1], target=1.25)
    latency(place, place.sizes[0])
    versions(place)
    heads(place)
    faults(place, place.sizes[0])
