"""Work in processes of its own: what crashes or hangs there is an error here."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from lawder_edge.errors import LawderError, last_line
from lawder_edge.processes import how_ended

T = TypeVar("T")

# Two use two cores; each takes about 700 MB, which more of them would take from small machines.
_MOST = 2
# Some runtimes hang as they leave.
_TO_LEAVE_S = 5.0


def at_a_time() -> int:
    """How many processes this machine is given at once: two, or one where it has one core."""
    return min(_MOST, os.cpu_count() or 1)


def in_process(work: Callable[..., T], *given: Any, timeout_s: float, advice: str) -> T:
    """What `work` returns for `given`, all of which cross to a fresh process.

    Raises the LawderError that it raises; LawderError too for any other failure, a process that dies, and one that has
    not answered after `timeout_s` seconds and is ended. advice: what to do after the last two.
    """
    context = multiprocessing.get_context("spawn")
    answer, told = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(told, work, given), daemon=True)
    process.start()
    # Only the process holds this end from now on, so that its death is noticed.
    told.close()
    try:
        if not answer.poll(timeout_s):
            raise LawderError(f"no result after {timeout_s:g} s, given up. {advice}")
        found: T | LawderError = answer.recv()
        # A process that is ended while it leaves keeps semaphores that Python then warns of.
        process.join(_TO_LEAVE_S)
    except EOFError as error:
        process.join(_TO_LEAVE_S)
        raise LawderError(f"its process {how_ended(process.exitcode)}. {advice}") from error
    finally:
        process.kill()
        process.join()
        answer.close()
    if isinstance(found, LawderError):
        raise found
    return found


def _tell(told: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        found = work(*given)
    except LawderError as error:
        found = error
    except Exception as error:  # the boundary of the process: a runtime may raise anything
        found = LawderError(f"{type(error).__name__}: {last_line(error)}")
    told.send(found)
