"""A drill's restore phase from a pgBackRest repository against `pgbackrest restore` and the server's own recovery."""

import grp
import json
import os
import pathlib
import pwd
import shutil
import subprocess

from measure import CannotMeasure, Measurement, figure, heading, measured, ratio, say, side_by_side
from references import KEY


class Repository:
    """A cluster of its own, archived and backed up by pgBackRest; stopped once it is."""

    def __init__(self, place, rows):
        self.folder = place.work / f"pgbackrest-{rows}"
        self.bin = pathlib.Path(os.environ["MUSTER_TEST_PG_BIN"])
        self.folder.mkdir()
        self.folder.chmod(0o755)
        for name in ["repo", "locks", "socket", "bare"]:
            self.made(name)
        self.config = self.folder / "pgbackrest.conf"
        self.config.write_text(
            f"[global]\nrepo1-path={self.folder}/repo\nlock-path={self.folder}/locks\nlog-level-file=off\n"
            f"log-level-console=off\nrepo1-retention-full=9\nstart-fast=y\ncompress-type=lz4\nprocess-max={os.cpu_count()}\n"
            f"[main]\npg1-path={self.folder}/data\npg1-socket-path={self.folder}/socket\npg1-user=postgres\n"
        )
        self.made("data")
        self.run([self.bin / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust", "-k", "--locale=C"])
        self.start("data", f"-c archive_mode=on -c archive_command='{' '.join(self.tool)} archive-push %p' -c max_wal_size=4GB")
        try:
            self.run(self.tool + ["stanza-create"])
            self.sql(
                f"CREATE TABLE part AS SELECT i AS id, {KEY} AS avatar_key FROM generate_series(0::bigint, {rows - 1}::bigint) i"
            )
            self.sql("CREATE INDEX ON part (avatar_key)")
            self.run(self.tool + ["--type=full", "backup"])
            self.sql("CREATE TABLE behind AS SELECT 1 AS id")
        finally:
            self.run([self.bin / "pg_ctl", "-D", self.folder / "data", "-w", "-m", "fast", "stop"])

    @property
    def tool(self):
        return ["pgbackrest", f"--config={self.config}", "--stanza=main"]

    def made(self, name):
        (self.folder / name).mkdir(mode=0o700)
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)

    def command(self, words):
        """As the user who may run a server."""
        group = grp.getgrgid(pwd.getpwnam("postgres").pw_gid).gr_name if os.getuid() == 0 else ""
        drop = ["setpriv", "--reuid=postgres", f"--regid={group}", "--init-groups"]
        return (drop if os.getuid() == 0 else []) + [str(word) for word in words]

    def run(self, words):
        subprocess.run(
            self.command(words), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def start(self, data, options):
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder}/socket -c fsync=off -c autovacuum=off {options}"
        log = self.folder / data / "log"
        self.run([self.bin / "pg_ctl", "-D", self.folder / data, "-w", "-t", "600", "-l", log, "-o", options, "start"])

    def sql(self, statement):
        self.run([self.bin / "psql", "-X", "-q", "-h", self.folder / "socket", "-U", "postgres", "-c", statement])

    def bare(self):
        """What a person does: restore, start the server, wait until recovery is over."""
        shutil.rmtree(self.folder / "bare")
        self.made("bare")
        restore = self.command(
            self.tool + [f"--pg1-path={self.folder}/bare", "--archive-mode=off", "--type=default", "restore"])
        run = measured(restore)
        ask = [self.bin / "psql", "-X", "-A", "-t", "-h", self.folder / "socket", "-U", "postgres", "-c"]
        wait = "while [ \"$(\"$@\" 'SELECT pg_is_in_recovery()')\" != f ]; do sleep 0.05; done"
        began = os.times().elapsed
        self.start("bare", "-c hot_standby=on")
        self.run(["sh", "-c", wait, "sh"] + ask)
        served = os.times().elapsed - began
        self.run([self.bin / "pg_ctl", "-D", self.folder / "bare", "-w", "-m", "immediate", "stop"])
        return Measurement(run.wall + served, run.cpu, run.peak, "")


def one_size(place, rows):
    say(f"making a pgBackRest repository of {rows:,} rows")
    repository = Repository(place, rows)
    drill = repository.folder / "drill.yaml"
    drill.write_text(
        f"""
drill: bench-pgbackrest
scratch: {{ directory: "{place.work}" }}
backup:
  database: {{ kind: pgbackrest, stanza: main, config: pgbackrest.conf }}
probes:
  - {{ name: filled, kind: sql, query: "select count(*) from public.behind", expect: {{ min: 1 }} }}
"""
    )
    phases = []

    def muster():
        run = measured([place.muster, "run", drill, "--reports", place.work / "reports", "--json"], output=True)
        report = json.loads(run.output)
        phases.append(sum(phase["seconds"] for phase in report["phases"] if phase["name"].startswith("restore ")))
        return run

    results = side_by_side(place.runs, muster=muster, bare=repository.bare)
    heading(f"pgBackRest: a full backup of {rows:,} rows with an index, and the WAL behind it")
    peer = figure("pgbackrest restore, then the server's recovery", [run.wall for run in results["bare"]])
    seconds = figure("the restore phase, from command to answering server", phases)
    figure("muster run, whole process", [run.wall for run in results["muster"]])
    ratio("restore phase / bare tool", seconds, peer, target=1.1)


def main(place):
    if shutil.which("pgbackrest") is None:
        raise CannotMeasure("there is no pgbackrest")
    for rows in place.sizes:
        one_size(place, rows)
