"""Processes of one's own, as a parent starts them and as they answer."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TextIO

# Numeric libraries read these when they are loaded, before anybody can call a function of theirs.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def thread_environment(threads: int) -> dict[str, str]:
    """The environment for a process whose libraries shall compute with `threads`; 0 leaves it to them."""
    return dict(os.environ) | (dict.fromkeys(_THREAD_VARIABLES, str(threads)) if threads > 0 else {})


def own_stdout() -> TextIO:
    """The real stdout, for answers alone: what libraries print from now on goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def how_ended(code: int | None) -> str:
    """What to say after "its process". code: negative of a signal's number, as `subprocess` gives it; None of one that
    still runs.
    """
    if not code:
        return "ended without a result"
    if code > 0:
        return f"ended with exit code {code}"
    # Linux has real-time signals that Python gives no name.
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
