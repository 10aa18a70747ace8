"""What this process does with memory that it has freed."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for what is allocated next, until the process ends, where it is glibc.

    It is for a process that trains and nothing else, so the verbs call it and no library function does.

    By itself it returns large tensors to the system, which hands their pages out again one by one, filled with zeros:
    4,000 to 5,000 in a step of ORDER at 192x192, 12 pictures, and 9,000 to 15,000 at 256x256, where 300 to 700 do; that
    is 4 to 9 % of the step (benchmarks/results/throughput.md). What it does to the memory that is resident at the most
    was not measured. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none, and Windows no such library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
