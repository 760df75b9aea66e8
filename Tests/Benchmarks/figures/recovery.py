"""Recovery of a base backup to the end of its WAL: Muster's whole restore phase against the same steps by hand."""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import time

from measure import MEBIBYTE, CannotMeasure, figure, heading, measured, ratio, say, side_by_side

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "archive_mode": "on",
    "autovacuum": "off",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "wal_level": "replica",
}


class Cluster:
    """A server of PostgreSQL's own programs, run as the OS user `postgres` where this runs as root."""

    def __init__(self, folder, settings):
        self.folder = folder
        self.settings = settings | {"unix_socket_directories": str(folder)}

    def tool(self, *command):
        user = "postgres" if os.geteuid() == 0 else None
        where = pathlib.Path(os.environ["MUSTER_TEST_PG_BIN"])
        subprocess.run([where / command[0], *command[1:]], user=user, group=user, cwd="/", check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def start(self):
        options = " ".join(f"-c {name}='{value}'" for name, value in self.settings.items())
        place = ["-D", self.folder / "pgdata", "-l", self.folder / "log"]
        self.tool("pg_ctl", "start", "-w", "-t", "3600", *place, "-o", options)

    def stop(self):
        self.tool("pg_ctl", "stop", "-m", "immediate", "-D", self.folder / "pgdata")

    def wait(self):
        ready = [pathlib.Path(os.environ["MUSTER_TEST_PG_BIN"]) / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready, stdin=subprocess.DEVNULL, check=False).returncode != 0:
            time.sleep(0.02)

    def sql(self, statement):
        command = ["psql", "-XqAt", "-h", self.folder, "-U", "postgres", "-d", "postgres", "-c", statement]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True)
        return run.stdout.strip()


def owned(path):
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def make_backup(place, rows):
    """A tar backup of a table, and the WAL of as many rows again, changed once."""
    top = place.work / f"recovery-{rows}"
    top.mkdir()
    top.chmod(0o711)
    wal = owned(top / "wal")
    source = Cluster(owned(top / "source"), SETTINGS | {"archive_command": f"cp %p {wal}/%f"})
    source.tool("initdb", "-D", source.folder / "pgdata", "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8")
    source.start()
    try:
        filler = "SELECT i AS id, repeat(md5(i::text), 4) AS body FROM generate_series({}, {}) AS i"
        source.sql("CREATE TABLE public.filled AS " + filler.format(1, rows))
        source.sql("ALTER TABLE public.filled ADD PRIMARY KEY (id)")
        owned(top / "bases")
        source.tool("pg_basebackup", "-h", source.folder, "-U", "postgres", "-D", top / "bases" / "one", "-c", "fast",
                    "--no-sync", "-X", "none", "-Ft")
        source.sql("INSERT INTO public.filled " + filler.format(rows + 1, 2 * rows))
        source.sql("UPDATE public.filled SET body = reverse(body) WHERE id > " + str(rows))
        name = source.sql("SELECT pg_walfile_name(pg_switch_wal())")
        while source.sql(f"SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver") != "t":
            time.sleep(0.1)
    finally:
        source.stop()
    shutil.rmtree(source.folder)
    drill = top / "drill.yaml"
    drill.write_text(
        f"""
drill: bench-recovery
scratch: {{ directory: "{top}" }}
backup:
  database: {{ kind: base_backup, base: bases, wal: wal }}
probes:
  - {{ name: filled, kind: sql, query: "select count(*) from public.filled", expect: {{ min: {2 * rows} }} }}
"""
    )
    return top, wal, drill


def by_hand(place, top, wal):
    """Unpacks by tar, looks at the manifest, replays by the server itself with `cp`; settings as in a drill."""
    folder = owned(top / "hand")
    data = owned(folder / "pgdata")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    settings = {
        "listen_addresses": "",
        "fsync": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "autovacuum": "off",
        "shared_buffers": f"{min(max(memory >> 23, 64), 2048)}MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "1h",
        "jit": "off",
        "archive_mode": "off",
        "hot_standby": "off",
        "restore_command": f'cp {wal}/%f "%p"',
        "recovery_target_timeline": "current",
    }
    cluster = Cluster(folder, settings)
    began = time.monotonic()
    archive = top / "bases" / "one" / "base.tar"
    subprocess.run(["tar", "-xf", archive, "-C", data, "--no-same-owner"], check=True)
    unpacked = time.monotonic()
    (data / "recovery.signal").touch()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:postgres", data], check=True)
    cluster.tool("pg_verifybackup", "--no-parse-wal", "--quiet", "--ignore=recovery.signal", "--manifest-path",
                 top / "bases" / "one" / "backup_manifest", data)
    ready = time.monotonic()
    cluster.start()
    # pg_ctl is content with a server that still recovers.
    cluster.wait()
    replayed = time.monotonic()
    try:
        rows = cluster.sql("SELECT count(*) FROM public.filled")
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    if rows == "0":
        raise CannotMeasure("the recovery by hand has no rows")
    return {"tar": unpacked - began, "replay": replayed - ready, "whole": replayed - began}


def one_size(place, rows):
    say(f"making a base backup of {rows:,} rows, and the WAL of as many again")
    top, wal, drill = make_backup(place, rows)
    phases = []

    def muster():
        run = measured([place.muster, "run", drill, "--reports", top / "reports", "--json"], output=True)
        report = json.loads(run.output)
        phases.append(sum(phase["seconds"] for phase in report["phases"] if phase["name"].startswith("restore ")))
        return run

    results = side_by_side(place.runs, muster=muster, hand=lambda: by_hand(place, top, wal))
    segments = [path for path in wal.iterdir() if len(path.name) == 24]
    bytes_of_wal = sum(path.stat().st_size for path in segments)
    size = (top / "bases" / "one" / "base.tar").stat().st_size
    written = f"{bytes_of_wal / MEBIBYTE:.0f} MiB of WAL in {len(segments)} segments"
    heading(f"recovery: base.tar of {size / MEBIBYTE:.0f} MiB, {written}")
    for name, text in [("tar", "tar -x alone"), ("replay", "replay by the server, restore_command = cp")]:
        figure(text, [run[name] for run in results["hand"]])
    peer = figure("tar -x, pg_verifybackup, replay", [run["whole"] for run in results["hand"]])
    seconds = figure("the restore phase", phases)
    ratio("restore phase / the same by hand", seconds, peer, target=1.1)
    shutil.rmtree(top)


def main(place):
    for rows in place.sizes:
        one_size(place, rows)
