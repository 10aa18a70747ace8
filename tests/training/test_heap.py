"""Memory that was freed stays with the process, in a process of its own: it is not given back."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# 48 MB: more than what glibc comes to keep by itself.
BLOCKS = """
import resource
from lawder_edge.training.heap import keep_freed_memory

{call}
bytes(bytearray(48_000_000)[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    bytearray(48_000_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


def fetched_bytes(call: str, root: Path) -> int:
    """What eight blocks, freed one after the other, get from the system after a first one, by their page faults."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS.format(call=call)], capture_output=True, text=True, check=True, cwd=root
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc, which is left as it is")
def test_a_block_that_was_freed_is_used_again_and_not_fetched_anew(project_root: Path) -> None:
    assert fetched_bytes("", project_root) > 8 * 40_000_000
    assert fetched_bytes("keep_freed_memory()", project_root) < 1_000_000
