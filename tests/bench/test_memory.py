"""Resident memory from /proc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lawder_edge.bench.memory import PeakMemory, parse_status, resident

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system has no /proc")
MIB = 1 << 20

SCRIPT = """
import sys
from lawder_edge.bench.memory import reset_peak, resident
before = resident()
block = bytearray(64 << 20)
del block
freed = resident()
reset_peak()
print(before.now_bytes, freed.peak_bytes, resident().peak_bytes)
"""


def test_peak_and_present_are_read_in_bytes() -> None:
    found = parse_status("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert found is not None
    assert (found.now_bytes, found.peak_bytes) == (1 * MIB, 2 * MIB)


def test_a_status_without_memory_is_told() -> None:
    assert parse_status("Name:\tkthreadd\n") is None


def test_added_memory_is_peak_less_baseline_and_never_negative() -> None:
    assert PeakMemory(baseline_bytes=10, peak_bytes=25).added_bytes == 15
    assert PeakMemory(baseline_bytes=10, peak_bytes=5).added_bytes == 0


def test_a_process_has_memory_and_its_peak_is_no_less() -> None:
    found = resident()
    assert 0 < found.now_bytes <= found.peak_bytes


@NEEDS_PROC
def test_memory_that_was_freed_shows_in_the_peak_until_it_is_reset() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, peak, after_reset = map(int, done.stdout.split())
    assert peak - before >= 63 * MIB
    if after_reset == peak:
        pytest.skip("this kernel does not let a process reset its peak")
    assert after_reset - before < 16 * MIB
