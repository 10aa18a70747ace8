"""Work in processes of its own."""

from __future__ import annotations

import operator
import os
import time

import pytest

from lawder_edge.errors import BadInput, LawderError
from lawder_edge.exporting.processes import in_process


def refuse(said: str) -> None:
    raise BadInput(said)


def test_what_the_work_returns_and_raises_comes_back() -> None:
    assert in_process(operator.add, 2, 3, timeout_s=60) == 5
    with pytest.raises(BadInput, match="no such image"):
        in_process(refuse, "no such image", timeout_s=60)
    with pytest.raises(LawderError, match="ZeroDivisionError: "):
        in_process(operator.truediv, 2, 0, timeout_s=60)


def test_a_process_that_dies_or_hangs_is_an_error_and_is_gone() -> None:
    with pytest.raises(LawderError, match="its process died"):
        in_process(os._exit, 3, timeout_s=60)
    with pytest.raises(LawderError, match=r"no result after 0\.1 s"):
        in_process(time.sleep, 600, timeout_s=0.1)
