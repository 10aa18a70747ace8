"""The table of what drawing costs."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from lawder_edge.errors import BadInput


@pytest.fixture
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("synth_throughput")


class Answers:
    """Stands for a process: keeps what it was asked for and took `seconds` of the processor."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked = seconds, list[tuple[int, int]]()

    def send(self, what: tuple[int, int]) -> None:
        self.asked.append(what)

    def recv(self) -> float:
        return self.seconds


def test_a_turn_shares_its_pictures_and_adds_up_what_the_processes_took(script: ModuleType) -> None:
    processes = [Answers(3.0), Answers(5.0)]
    _, processor = script.turn(processes, seed=7, pictures=4)
    assert [p.asked for p in processes] == [[(7, 2)], [(8, 2)]]
    assert processor == 2.0


def test_the_table_has_medians_ratios_and_what_a_thousand_pictures_cost(script: ModuleType) -> None:
    one = script.Turns(wall=[1.0, 1.2, 9.0], processor=[1.0, 0.9, 1.1])
    two = script.Turns(wall=[0.5, 0.6, 4.5], processor=[1.2, 1.2, 1.2])
    lines = script.table(one, two)
    columns = {line.count("|") for line in lines}
    assert columns == {9}
    assert lines[2] == "| 1 | 0.83 | 1.20 | 1.00 | 1.00 | 20 min | 17 min | 0.28 |"
    assert lines[3] == "| 2 | 1.67 | 0.60 | 2.00 [2.00, 2.00] | 1.20 | 10 min | 20 min | 0.33 |"


def test_a_process_that_ended_is_told(script: ModuleType) -> None:
    class Ended(Answers):
        def recv(self) -> float:
            raise EOFError

    with pytest.raises(BadInput, match="ended before it had drawn"):
        script.turn([Answers(1.0), Ended(1.0)], seed=0, pictures=2)
