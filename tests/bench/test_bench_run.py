"""Rows in processes of their own, with small scripts in place of the worker."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytest

from lawder_edge.bench.machine import Machine
from lawder_edge.bench.process import RowProcess
from lawder_edge.bench.rows import Answer, BenchReport, BenchSpec, Measured, Noise, Row
from lawder_edge.bench.run import bench, warnings
from lawder_edge.errors import BadInput


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def answering(row: Row) -> list[str]:
    """A worker that logs what it is asked, and gives `row` at the end."""
    done, last = (json.dumps(dataclasses.asdict(Answer(r))) for r in (None, row))
    return script(
        f"import sys; print({done!r}, flush=True)\n"
        "for line in sys.stdin:\n"
        "    print(line.strip(), file=sys.stderr, flush=True)\n"
        f"    print({last!r} if line.strip() == 'end' else {done!r}, flush=True)\n"
        "    if line.strip() == 'end': break\n"
    )


def run_row(source: str, spec: BenchSpec, *, worker: list[str]) -> Row:
    """One row from its start to its end."""
    process = RowProcess(source, spec, worker=worker)
    process.wait()
    process.ask("turn")
    process.ask("end")
    assert process.row is not None
    return process.row


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
    assert "without a result" in run_row("x", quick, worker=script("pass")).reason
    assert "something else than a result" in run_row("x", quick, worker=script("print('{}')")).reason


def test_a_hang_is_ended_with_everything_that_it_started(tmp_path: Path, quick: BenchSpec) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, time; p = subprocess.Popen(['sleep', '600']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{p.pid}}'); time.sleep(600)"
    )
    row = run_row("x", dataclasses.replace(quick, timeout_s=4.0), worker=script(code))
    assert row.status == "failed"
    assert "no result after 4 s" in row.reason
    # What the row's process started is killed with it, but nobody waits for its end.
    deadline = time.monotonic() + 30
    left = [int(pid) for pid in pids.read_text().split()]
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if not _ended(pid)]
        time.sleep(0.02)
    assert not left


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
        on_step=lambda done, n, text: seen.append((done, n, text)),
    )
    assert [row.source for row in report.rows] == ["a", "b"]
    assert seen == [(0, 4, "loading a"), (1, 4, "loading b"), (2, 4, "a"), (3, 4, "b"), (4, 4, "")]
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("codes", "wanted"), [((0, 0), 0), ((0, 4), 0), ((4, 4), 4), ((0, 4, 1), 1), ((4, 2), 2), ((2, 1, 4), 1), ((), 0)]
)
def test_the_exit_code_is_that_of_the_worst_row_and_4_only_where_nothing_ran(
    codes: tuple[int, ...], wanted: int, machine: Machine, quick: BenchSpec, quiet: Noise
) -> None:
    rows = tuple(Row("x", "failed" if code else "ok", exit_code=code) for code in codes)
    assert BenchReport(machine, quick, quiet, None, rows, (), ()).exit_code == wanted


def test_rows_take_turns_and_are_compared_with_the_first(measured: Measured, quick: BenchSpec, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import sys, json; from pathlib import Path; task = json.loads(sys.argv[1]); log = open({order!r}, 'a')\n"
        "print('{{\"row\": null}}', flush=True)\n"
        "for line in sys.stdin:\n"
        "    log.write(task['source'] + ' ' + line); log.flush()\n"
        "    if line.strip() == 'end':\n"
        "        row = json.loads({row!r}); row['source'] = task['source']\n"
        "        print(json.dumps({{'row': row}}), flush=True); break\n"
        "    print('{{\"row\": null}}', flush=True)\n"
    ).format(order=str(order), row=json.dumps(dataclasses.asdict(Row("", "ok", measured=measured))))
    spec = dataclasses.replace(quick, rule=dataclasses.replace(quick.rule, turns=2))
    report = bench(["a", "b"], spec, worker=script(code))
    assert order.read_text().splitlines() == ["a turn", "b turn", "a turn", "b turn", "a end", "b end"]
    assert [(r.source, r.baseline, r.of, r.median) for r in report.ratios] == [
        ("b", "a", "infer", 1.0),
        ("b", "a", "cpu", 1.0),
    ]
    assert report.noise.count > 10
    assert report.roof is not None
    assert report.roof.gflops > 0


def test_no_part_at_all_is_refused(quick: BenchSpec) -> None:
    with pytest.raises(BadInput, match="--include"):
        bench(["a"], dataclasses.replace(quick, include=()))


def test_a_quiet_machine_with_a_steady_row_gives_no_warning(machine: Machine, measured: Measured, quiet: Noise) -> None:
    assert warnings(machine, quiet, [Row("good", "ok", measured=measured)]) == ()


def test_what_makes_numbers_doubtful_is_said(machine: Machine, measured: Measured, quiet: Noise) -> None:
    loaded = dataclasses.replace(machine, governor="powersave")
    noise = dataclasses.replace(quiet, busy_percent=63.2, throttled=3)
    shaky = dataclasses.replace(
        measured,
        infer=dataclasses.replace(measured.infer, steady=False),
        artifact=dataclasses.replace(measured.artifact, file=""),
    )
    text = "\n".join(warnings(loaded, noise, [Row("mine", "ok", measured=shaky), Row("lost", "failed")]))
    words = (
        "63 % of the CPU",
        "powersave",
        "for heat 3 times",
        "mine: infer had not settled",
        "mine: measured with fresh",
    )
    for word in words:
        assert word in text


def test_a_machine_that_computes_the_same_thing_ever_slower_is_busy(
    machine: Machine, measured: Measured, quiet: Noise
) -> None:
    (said,) = warnings(machine, dataclasses.replace(quiet, p95_ms=1.5), [Row("good", "ok", measured=measured)])
    assert "50 % longer" in said
