"""Rows in processes of their own, with small scripts in place of the worker."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from lawder_edge.bench.machine import Machine
from lawder_edge.bench.rows import BenchReport, BenchSpec, Measured, Row
from lawder_edge.bench.run import bench, run_row, warnings


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def answering(row: Row) -> list[str]:
    return script(f"print({json.dumps(dataclasses.asdict(row))!r})")


def test_a_row_comes_back_as_it_was_measured(measured: Measured, quick: BenchSpec) -> None:
    row = Row("good", "ok", measured=measured)
    assert run_row("good", quick, worker=answering(row)) == row


def test_a_crash_costs_one_row_and_names_the_signal(quick: BenchSpec) -> None:
    row = run_row("x", quick, worker=script("import os, signal; os.kill(os.getpid(), signal.SIGABRT)"))
    assert (row.status, row.exit_code) == ("failed", 1)
    assert "killed by SIGABRT" in row.reason


def test_an_exit_without_a_result_carries_the_last_words(quick: BenchSpec) -> None:
    row = run_row("x", quick, worker=script("import sys; sys.exit('out of luck')"))
    assert "exit code 1" in row.reason
    assert "out of luck" in row.reason
    row = run_row("x", quick, worker=script("print('{}')"))
    assert "without a result" in row.reason


def test_a_hang_is_ended_with_everything_that_it_started(tmp_path: Path, quick: BenchSpec) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, time; p = subprocess.Popen(['sleep', '600']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{p.pid}}'); time.sleep(600)"
    )
    row = run_row("x", dataclasses.replace(quick, timeout_s=4.0), worker=script(code))
    assert row.status == "failed"
    assert "no result after 4 s" in row.reason
    for pid in map(int, pids.read_text().split()):
        assert _ended(pid)


def _ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_the_threads_asked_for_reach_libraries_that_read_the_environment(quick: BenchSpec) -> None:
    row = run_row(
        "x", dataclasses.replace(quick, threads=3), worker=script("import os; exit(os.environ['OMP_NUM_THREADS'])")
    )
    assert row.log.strip() == "3"


def test_rows_keep_their_order_and_a_failure_does_not_stop_the_next(quick: BenchSpec) -> None:
    seen: list[tuple[int, int, str]] = []
    report = bench(
        ["a", "b"],
        quick,
        worker=script("raise SystemExit(7)"),
        on_row=lambda done, n, text: seen.append((done, n, text)),
    )
    assert [row.source for row in report.rows] == ["a", "b"]
    assert seen == [(0, 2, "a"), (1, 2, "b"), (2, 2, "")]
    assert report.exit_code == 1


@pytest.mark.parametrize(("codes", "wanted"), [((0, 0), 0), ((0, 4), 4), ((4, 2), 2), ((2, 1, 4), 1), ((), 0)])
def test_the_exit_code_is_that_of_the_worst_row(
    codes: tuple[int, ...], wanted: int, machine: Machine, quick: BenchSpec
) -> None:
    rows = tuple(Row("x", "failed" if code else "ok", exit_code=code) for code in codes)
    assert BenchReport(machine, quick, rows, ()).exit_code == wanted


def test_a_quiet_machine_with_a_steady_row_gives_no_warning(machine: Machine, measured: Measured) -> None:
    assert warnings(machine, [Row("good", "ok", measured=measured)], busy=2.0) == ()


def test_what_makes_numbers_doubtful_is_said(machine: Machine, measured: Measured) -> None:
    busy = dataclasses.replace(machine, governor="powersave")
    shaky = dataclasses.replace(
        measured,
        infer=dataclasses.replace(measured.infer, steady=False),
        artifact=dataclasses.replace(measured.artifact, file=""),
    )
    text = "\n".join(warnings(busy, [Row("mine", "ok", measured=shaky), Row("lost", "failed")], busy=63.2))
    for word in ("63 % of the CPU", "powersave", "mine: infer had not settled", "mine: measured with fresh weights"):
        assert word in text
