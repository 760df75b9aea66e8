"""Copying a snapshot of a data directory into scratch against cp -a --reflink=auto of the same one."""

import json
import pathlib
import re
import shutil
import subprocess

from measure import CannotMeasure, figure, heading, measured, ratio, say, side_by_side

SERVICE = pathlib.Path(__file__).resolve().parents[2] / "services" / "postgres.sh"


def make_data_directory(place, rows):
    """A server's, ended as by a crash."""
    folder = place.work / f"snapshot-{rows}"
    exports = subprocess.run([SERVICE, "start", folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    server = re.search(r'MUSTER_TEST_PG_SOCKET="([^"]+)"', exports.stdout)[1]
    statement = (
        "CREATE TABLE filled AS SELECT i AS id, repeat(md5(i::text), 14) AS filler "
        f"FROM generate_series(1::bigint, {rows}::bigint) AS i"
    )
    try:
        for sql in (statement, "ALTER TABLE filled ADD PRIMARY KEY (id)", "CHECKPOINT", "SET synchronous_commit = on; INSERT INTO filled VALUES (0, '')"):
            subprocess.run(["psql", "-X", "-q", "-d", server, "-c", sql], stdin=subprocess.DEVNULL, check=True)
    finally:
        subprocess.run([SERVICE, "stop", folder], stdin=subprocess.DEVNULL, check=True)
    return folder / "data"


def one_size(place, rows):
    say(f"making a data directory of {rows:,} rows")
    data = make_data_directory(place, rows)
    drill = place.work / f"snapshot-{rows}.yaml"
    drill.write_text(
        f"""
drill: bench-snapshot
scratch: {{ directory: "{place.work}" }}
backup:
  database: {{ kind: pgdata_snapshot, path: "{data}" }}
probes:
  - {{ name: filled, kind: sql, query: "select id from public.filled where id = 0", expect: rows }}
  - {{ name: whole, kind: integrity, level: deep }}
"""
    )
    reports = place.work / "reports"
    phases = []

    def muster():
        run = measured([place.muster, "run", drill, "--reports", reports, "--json"], output=True)
        report = json.loads(run.output)
        phases.append(sum(phase["seconds"] for phase in report["phases"] if phase["name"].startswith("restore ")))
        log = (reports / "bench-snapshot" / report["run_id"] / "recovery.log").read_text()
        copied = re.search(r"^copied \d+ bytes in ([0-9.]+) s$", log, re.MULTILINE)
        if not copied:
            raise CannotMeasure("the run's recovery.log does not say how long copying took")
        return float(copied[1])

    def bare():
        target = place.work / "copy"
        run = measured(["cp", "-a", "--reflink=auto", data, target])
        shutil.rmtree(target)
        return run.wall

    results = side_by_side(place.runs, muster=muster, bare=bare)
    heading(f"snapshot: a data directory of {rows:,} rows")
    peer = figure("cp -a --reflink=auto", results["bare"])
    seconds = figure("copying it into scratch", results["muster"])
    figure("the whole restore phase", phases)
    ratio("copying / cp -a --reflink=auto", seconds, peer, target=1.0)
    shutil.rmtree(data.parent)


def main(place):
    for rows in place.sizes:
        one_size(place, rows)
