"""Verifies a ledger's chain from the description in LedgerChain.swift alone: a second implementation."""
import hashlib
import sqlite3
import sys

RUN = """run_id drill description started_at recovery_target strategy rpo_objective_milliseconds rto_objective_milliseconds
    max_backup_age_milliseconds drill_digest tool_version host verdict finished_at backup_set recovery_point rpo_milliseconds
    rto_milliseconds reason"""
PARTS = [
    ("run_note", "text"),
    ("run_stage", "name verdict message milliseconds"),
    ("restored_table", "relation rows"),
    ("recorded_phase", "name started_at milliseconds detail"),
    ("recorded_probe", "probe kind verdict examined passed failed unknown milliseconds summary"),
    ("probe_relaxation", "probe_ordinal text"),
]
FINDING = """probe kind cause counts relation row_id bucket object_key object_key_text expected observed evidence repair"""


class Text(bytes):
    pass


def field(value):
    if value is None:
        return b"n"
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, Text):
        return b"t%d:" % len(value) + value
    return b"b%d:" % len(value) + value


def row(table, ordinal, values):
    head = field(Text(table.encode())) + (b"" if ordinal is None else field(ordinal))
    return head + b"".join(map(field, values))


def main(path, anchor=None):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.text_factory = Text
    head = "0" * 64
    heads = {head}
    chain = database.execute(
        "SELECT run_number, chain_number, chain_head, finding_count, findings_digest FROM recorded_run "
        "WHERE chain_number IS NOT NULL ORDER BY chain_number").fetchall()
    for expected, (run, number, stored, count, digest) in enumerate(chain, 1):
        if number != expected:
            sys.exit(f"run {expected} of the chain is missing")
        findings = hashlib.sha256(field(Text(b"muster ledger findings 1")))
        seen = 0
        for ordinal, *values in database.execute(
                f"SELECT ordinal, {','.join(FINDING.split())} FROM recorded_finding WHERE run_number = ? ORDER BY ordinal", (run,)):
            findings.update(row("recorded_finding", ordinal, values))
            seen += 1
        if seen != count or findings.hexdigest().encode() != digest:
            sys.exit(f"the findings of run {number} are not those recorded")
        hasher = hashlib.sha256(field(Text(b"muster ledger chain 1")) + field(Text(head.encode())) + field(number))
        values = database.execute(f"SELECT {','.join(RUN.split())} FROM recorded_run WHERE run_number = ?", (run,)).fetchone()
        hasher.update(row("recorded_run", None, values))
        for table, columns in PARTS:
            for ordinal, *values in database.execute(
                    f"SELECT ordinal, {','.join(columns.split())} FROM {table} WHERE run_number = ? ORDER BY ordinal", (run,)):
                hasher.update(row(table, ordinal, values))
        hasher.update(field(count) + field(Text(digest)))
        head = hasher.hexdigest()
        if head.encode() != stored:
            sys.exit(f"run {number} is not what was recorded")
        heads.add(head)
    if anchor is not None and anchor not in heads:
        sys.exit("the anchor is no head of this chain")
    print(head)


main(*sys.argv[1:])
