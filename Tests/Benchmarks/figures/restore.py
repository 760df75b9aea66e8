"""A drill's restore phase against the same steps by hand, and against pg_restore alone, of the same dump."""

import datetime
import json
import os
import shutil
import subprocess
import time

from measure import figure, heading, measured, median, ratio, say, side_by_side
from recovery import Cluster, owned
from references import KEY, psql

TABLES = 4


def connected(place, database):
    return " ".join(word for word in place.server.split() if not word.startswith("dbname=")) + f" dbname={database}"


def make_dump(place, rows, path):
    """Four tables with two indexes each, so that jobs have something to do side by side."""
    psql(place, "CREATE DATABASE bench_source")
    source = connected(place, "bench_source")
    for table in range(TABLES):
        statements = [
            f"CREATE TABLE part{table} AS SELECT i AS id, {KEY} AS avatar_key, 1000 + (i * 7919) % 9000 AS avatar_bytes "
            f"FROM generate_series(0::bigint, {rows // TABLES - 1}::bigint) AS i",
            f"ALTER TABLE part{table} ADD PRIMARY KEY (id)",
            f"CREATE INDEX ON part{table} (avatar_key)",
        ]
        for statement in statements:
            subprocess.run(["psql", "-X", "-q", "-d", source, "-c", statement], stdin=subprocess.DEVNULL, check=True)
    subprocess.run(["pg_dump", "-Fc", "-f", path, "-d", source], stdin=subprocess.DEVNULL, check=True)
    psql(place, "DROP DATABASE bench_source")


def make_sets(place, rows):
    when = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    folder = place.work / f"sets-{rows}" / when.strftime("%Y-%m-%d-%H-%M")
    (folder / "s3_files").mkdir(parents=True)
    (folder / "s3_files" / "avatar.png").write_bytes(b"avatar")
    make_dump(place, rows, folder / "db_dump.sqlc")
    drill = place.work / f"restore-{rows}.yaml"
    drill.write_text(
        f"""
drill: bench-restore
scratch: {{ directory: "{place.work}" }}
backup:
  sets: "{folder.parent}"
  named: "%Y-%m-%d-%H-%M"
  database: {{ kind: pg_dump, path: db_dump.sqlc }}
  objects: [ {{ bucket: bench, kind: directory, path: s3_files }} ]
probes:
  - {{ name: filled, kind: sql, query: "select count(*) from public.part0", expect: {{ min: 1 }} }}
"""
    )
    return drill, folder / "db_dump.sqlc"


def by_hand(place, dump):
    """A server made and started by hand, as one must be that holds a throw-away copy, and pg_restore into it; statistics too."""
    folder = owned(place.work / "hand")
    cluster = Cluster(folder, {"listen_addresses": "", "fsync": "off", "autovacuum": "off", "max_wal_size": "2GB"})
    began = time.monotonic()
    cluster.tool("initdb", "-D", folder / "pgdata", "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8", "-N")
    cluster.start()
    try:
        cluster.sql("CREATE DATABASE bench_target")
        target = f"host={folder} user=postgres dbname=bench_target"
        subprocess.run(["pg_restore", "-j", str(os.cpu_count()), "-d", target, dump], check=True)
        subprocess.run(["psql", "-Xq", "-d", target, "-c", "ANALYZE"], check=True)
        return time.monotonic() - began
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def one_size(place, rows):
    say(f"making a dump of {rows:,} rows")
    drill, dump = make_sets(place, rows)
    phases = []

    def muster():
        run = measured([place.muster, "run", drill, "--reports", place.work / "reports", "--json"], output=True)
        report = json.loads(run.output)
        phases.append(sum(phase["seconds"] for phase in report["phases"] if phase["name"].startswith("restore ")))
        return run

    def bare():
        psql(place, "DROP DATABASE IF EXISTS bench_target")
        psql(place, "CREATE DATABASE bench_target")
        return measured(["pg_restore", "-j", str(os.cpu_count()), "-d", connected(place, "bench_target"), dump])

    results = side_by_side(place.runs, muster=muster, bare=bare, hand=lambda: by_hand(place, dump))
    psql(place, "DROP DATABASE bench_target")
    heading(f"restore: {rows:,} rows in {TABLES} tables with two indexes each")
    bare_peer = median([run.wall for run in results["bare"]])
    figure(f"pg_restore -j {os.cpu_count()} on a server that runs", [run.wall for run in results["bare"]])
    peer = figure("initdb, start, pg_restore, ANALYZE by hand", results["hand"])
    seconds = figure("the restore phase, server made and started", phases)
    figure("muster run, whole process", [run.wall for run in results["muster"]])
    ratio("restore phase / the same by hand", seconds, peer, target=1.1)
    ratio("restore phase / pg_restore alone", seconds, bare_peer, target=1.1)


def main(place):
    for rows in place.sizes:
        one_size(place, rows)
