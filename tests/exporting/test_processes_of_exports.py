"""Work in processes of its own."""

from __future__ import annotations

import operator
import os
import time

import pytest

from lawder_edge.errors import BadInput, LawderError
from lawder_edge.exporting.processes import in_process
from lawder_edge.processes import how_ended


def refuse(said: str) -> None:
    raise BadInput(said)


def test_what_the_work_returns_and_raises_comes_back() -> None:
    assert in_process(operator.add, 2, 3, timeout_s=60, advice="") == 5
    with pytest.raises(BadInput, match="no such image"):
        in_process(refuse, "no such image", timeout_s=60, advice="")
    with pytest.raises(LawderError, match="ZeroDivisionError: "):
        in_process(operator.truediv, 2, 0, timeout_s=60, advice="")


def test_a_process_that_dies_or_hangs_is_an_error_that_tells_how_and_what_to_do_and_is_gone() -> None:
    with pytest.raises(LawderError, match=r"^its process ended with exit code 3\. Run it alone\.$"):
        in_process(os._exit, 3, timeout_s=60, advice="Run it alone.")
    with pytest.raises(LawderError, match=r"^its process was killed by SIGABRT\. Run it alone\.$"):
        in_process(os.abort, timeout_s=60, advice="Run it alone.")
    with pytest.raises(LawderError, match=r"^no result after 0\.1 s, given up\. Run it alone\.$"):
        in_process(time.sleep, 600, timeout_s=0.1, advice="Run it alone.")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "ended without a result"),
        (0, "ended without a result"),
        (1, "ended with exit code 1"),
        (-11, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
    ],
)
def test_the_end_of_a_process_is_told_by_its_signal_or_exit_code(code: int | None, said: str) -> None:
    assert how_ended(code) == said
