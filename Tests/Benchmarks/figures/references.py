"""The references probe against PostgreSQL's own COPY of the same rows in the same order."""

import json
import subprocess

from measure import MEBIBYTE, CannotMeasure, figure, heading, measured, median, ratio, say, side_by_side

PEAK_MEBIBYTES = 128
KEY = (
    "'uploads/app/users/' || lpad(i::text, 8, '0') || '/avatar-' "
    "|| lpad(to_hex((i * 2654435761) % 4294967296), 8, '0') || '.png'"
)


def psql(place, statement):
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", place.server, "-c", statement]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True).stdout


def make_table(place, rows):
    """Rows lie in the table in another order than their keys sort."""
    table = f"avatars_{rows}"
    say(f"making {rows:,} rows")
    psql(place, f"DROP TABLE IF EXISTS public.{table}")
    psql(
        place,
        f"CREATE TABLE public.{table} AS SELECT i AS id, {KEY} AS avatar_key, "
        "1000 + (i * 7919) % 9000 AS avatar_bytes FROM generate_series(0::bigint, "
        f"{rows - 1}::bigint) AS i ORDER BY (i * 2654435761) % 4294967296",
    )
    psql(place, f"ALTER TABLE public.{table} ADD PRIMARY KEY (id)")
    psql(place, f"VACUUM (ANALYZE, FREEZE) public.{table}")
    psql(place, "CHECKPOINT")
    return table


def write_drill(place, table, rows):
    path = place.work / f"{table}.yaml"
    path.write_text(
        f"""
drill: bench-references
scratch: {{ directory: "{place.work}" }}
backup:
  database: {{ kind: restored, server: "{place.server}" }}
  objects: [ {{ bucket: bench, kind: generated, keys: {rows} }} ]
probes:
  - {{ name: avatars, kind: references, table: public.{table}, key: avatar_key, size: avatar_bytes, bucket: bench }}
"""
    )
    return path


def one_size(place, rows):
    """The largest resident size of the process, in bytes."""
    table = make_table(place, rows)
    drill = write_drill(place, table, rows)
    copy = (
        f'COPY (SELECT avatar_key, avatar_bytes FROM public.{table} ORDER BY avatar_key COLLATE "C") '
        "TO STDOUT (FORMAT binary)"
    )
    probes = []

    def probe():
        run = measured([place.bench, "drill", drill, place.work / "reports"], output=True)
        answer = json.loads(run.output)
        if answer["count"] != rows:
            raise CannotMeasure(f"the probe examined {answer['count']} of {rows} references")
        probes.append(answer["seconds"])
        return run

    def yardstick():
        return measured(["psql", "-X", "-q", "-d", place.server, "-c", copy])

    yardstick()  # the table's pages are in memory for all
    results = side_by_side(place.runs, probe=probe, yardstick=yardstick)
    psql(place, f"DROP TABLE public.{table}")
    heading(f"references: {rows:,} rows, all there")
    peer = figure("psql COPY, sorted, to /dev/null", [run.wall for run in results["yardstick"]])
    seconds = figure("the probe", probes)
    process = figure("the whole process", [run.wall for run in results["probe"]])
    figure("CPU of the process", [run.cpu for run in results["probe"]])
    ratio("probe / COPY", seconds, peer, target=1.3)
    ratio("process / COPY", process, peer)
    peaks = [run.peak for run in results["probe"]]
    figure("peak resident memory", [peak / MEBIBYTE for peak in peaks], "MiB", target=PEAK_MEBIBYTES)
    return median(peaks)


def main(place):
    peaks = [one_size(place, rows) for rows in place.sizes]
    if len(peaks) > 1:
        ratio(f"peak memory, {place.sizes[-1]:,} rows / {place.sizes[0]:,}", peaks[-1], peaks[0], target=1.25)
