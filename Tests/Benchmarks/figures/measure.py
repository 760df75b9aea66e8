"""Runs commands and prints what they took: medians of several runs, and ratios against a peer in the same runs."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

MEBIBYTE = 1 << 20


class CannotMeasure(Exception):
    """A command failed or answered what it must not: there is no figure."""


@dataclass
class Measurement:
    wall: float  # seconds
    cpu: float  # seconds, user and system, with waited-for children
    peak: int  # resident bytes, of the largest process
    output: str


def measured(command, output=False, env=None, ok=(0,)):
    """Runs `command` to its end. Its standard output goes to /dev/null unless `output`."""
    sink = subprocess.PIPE if output else subprocess.DEVNULL
    began = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, env=env)
    text = child.stdout.read().decode() if output else ""
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in ok:
        raise CannotMeasure(f"status {child.returncode} of: {' '.join(map(str, command))}\n{text}")
    return Measurement(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def side_by_side(runs, **subjects):
    """Calls each subject `runs` times in turn, so that what else the machine does meets all of them alike."""
    results = {name: [] for name in subjects}
    for _ in range(runs):
        for name, subject in subjects.items():
            results[name].append(subject())
    return results


def median(values):
    return statistics.median(values)


def heading(text):
    print(f"\n{text}", flush=True)


def figure(name, values, unit="s", target=None):
    """One figure: the median and between which values the runs lay; `target` is the most it may be."""
    middle = median(values)
    runs = f"({min(values):.3g} to {max(values):.3g} in {len(values)} runs)" if len(values) > 1 else ""
    print(f"  {name:<46} {middle:>10.3g} {unit:<4} {runs:<32} {judged(middle, target, unit)}".rstrip(), flush=True)
    return middle


def ratio(name, value, peer, target=None, at_least=None):
    """One ratio; `target` is the most it may be, `at_least` the least."""
    quotient = value / peer
    verdict = judged(quotient, target, "x") if at_least is None else judged_least(quotient, at_least)
    print(f"  {name:<46} {quotient:>10.3g} {'x':<4} {'':<32} {verdict}".rstrip(), flush=True)
    return quotient


def judged(value, target, unit):
    if target is None:
        return ""
    return f"target <= {target:g} {unit}: {'met' if value <= target else 'MISSED'}"


def judged_least(value, target):
    return f"target >= {target:g} x: {'met' if value >= target else 'MISSED'}"


def say(text):
    print(text, file=sys.stderr, flush=True)
