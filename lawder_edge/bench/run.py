"""A benchmark: one process a row, one row after the other."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from lawder_edge.bench.machine import Machine, describe_machine
from lawder_edge.bench.rows import BenchReport, BenchSpec, Row
from lawder_edge.codec import decode
from lawder_edge.errors import BadBundle, last_line
from lawder_edge.threads import check_threads

WORKER = (sys.executable, "-m", "lawder_edge.bench.worker")
_LOG_CHARS = 4000
# An idle desktop or board stays below this.
_QUIET_PERCENT = 15.0
# Numeric libraries read these when they are loaded, before anybody can call a function of theirs.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def bench(
    sources: Sequence[str],
    spec: BenchSpec,
    *,
    on_row: Callable[[int, int, str], None] | None = None,
    worker: Sequence[str] = WORKER,
) -> BenchReport:
    """Measure each source (model name, checkpoint or bundle folder), each in a process of its own.

    A source that cannot be measured costs its own row. on_row: called with rows done, rows in all, and the source that
    comes next. worker: the command that gets a task as its last argument and prints a row.

    Raises BadInput for a number of threads below 0.
    """
    check_threads(spec.threads)
    machine = describe_machine()
    before = busy_percent()
    rows: list[Row] = []
    for done, source in enumerate(sources):
        if on_row:
            on_row(done, len(sources), source)
        rows.append(run_row(source, spec, worker=worker))
    if on_row:
        on_row(len(sources), len(sources), "")
    busy = max(before, busy_percent())
    return BenchReport(machine=machine, spec=spec, rows=tuple(rows), warnings=warnings(machine, rows, busy=busy))


def busy_percent() -> float:
    """Share of all cores that is used at this moment, over half a second, while this process sleeps. In [0, 100]."""
    import psutil

    return psutil.cpu_percent(interval=0.5)


def run_row(source: str, spec: BenchSpec, *, worker: Sequence[str] = WORKER) -> Row:
    """Measure one source in a new process. A crash, a hang or a wrong answer becomes a failed row."""
    task = json.dumps({"source": source, "spec": dataclasses.asdict(spec)})
    environment = dict(os.environ)
    if spec.threads > 0:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(spec.threads))
    # A session of its own, so that whatever the worker started ends with it.
    process = subprocess.Popen(
        [*worker, task], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        answer, log = process.communicate(timeout=spec.timeout_s)
    except subprocess.TimeoutExpired:
        _end(process)
        log = process.communicate()[1]
        return _failed(source, f"no result after {spec.timeout_s:g} s, given up. Allow more with --timeout.", log)
    except BaseException:
        _end(process)
        process.wait()
        raise
    if process.returncode:
        return _failed(source, f"its process {_how(process.returncode)}.{_last_words(log)}", log)
    try:
        row = decode(Row, answer, source="answer")
    except BadBundle:
        return _failed(source, f"its process ended without a result.{_last_words(log)}", log)
    return row if row.status == "ok" else dataclasses.replace(row, log=log[-_LOG_CHARS:])


def warnings(machine: Machine, rows: Sequence[Row], *, busy: float) -> tuple[str, ...]:
    """What a reader should know before believing the numbers, a sentence each.

    busy: percent of all cores that other work used before or after the rows.
    """
    said: list[str] = []
    if busy > _QUIET_PERCENT:
        said.append(
            f"Other work used {busy:.0f} % of the CPU: latencies are those of a shared machine, and rows need not have "
            "been measured under the same load."
        )
    if machine.governor not in ("", "performance"):
        said.append(f"The CPU governor is {machine.governor}: latencies depend on when it raises the clock.")
    for row in rows:
        if row.measured is None:
            continue
        if not row.measured.infer.steady:
            said.append(
                f"{row.source}: infer had not settled after {row.measured.infer.warmup_count} warm-up calls; prefer a "
                "longer --min-time or a quieter machine."
            )
        if not row.measured.artifact.file:
            said.append(f"{row.source}: measured with fresh weights, as none are carried for it.")
    return tuple(said)


def _failed(source: str, reason: str, log: str) -> Row:
    return Row(source, "failed", reason, 1, log=log[-_LOG_CHARS:])


def _how(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"


def _last_words(log: str) -> str:
    return f" Its last words: {last_line(log)}" if log.strip() else ""


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the worker and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
