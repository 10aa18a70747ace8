"""Exports in processes of their own: a toolchain that crashes or hangs costs its row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from lawder_edge.codec import decode
from lawder_edge.errors import BadBundle, last_line
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.processes import at_a_time
from lawder_edge.exporting.request import ExportTask
from lawder_edge.processes import how_ended, thread_environment
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import get_target

_WORKER = (sys.executable, "-m", "lawder_edge.exporting.worker")


def export_isolated(task: ExportTask, *, threads: int = 0, timeout_s: float = 900.0) -> ExportOutcome:
    """threads: of PyTorch and numpy, 0 leaves the choice to them.

    What of the request the target does not read is left out: another target of the same call reads it.
    """
    reads = get_target(task.target).reads
    request = replace(
        task.request,
        opset=task.request.opset if "opset" in reads else None,
        engine=task.request.engine if "engine" in reads else EngineOptions(),
        ram_bytes=task.request.ram_bytes if "ram" in reads else None,
    )
    words = json.dumps(asdict(replace(task, request=request)), default=str)
    try:
        done = subprocess.run(
            [*_WORKER, words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=thread_environment(threads),
        )
    except subprocess.TimeoutExpired:
        reason = f"no result after {timeout_s:g} s, given up. {_advice(task)}"
        return ExportOutcome(task.target, request.precision, "failed", reason=reason, exit_code=1)
    answer = done.stdout.strip().splitlines()
    if answer:
        with suppress(BadBundle):
            return decode(ExportOutcome, answer[-1], source="answer")
    said = f" Its last words: {last_line(done.stderr)}." if done.stderr.strip() else ""
    reason = f"its process {how_ended(done.returncode)}.{said} {_advice(task)}"
    return ExportOutcome(task.target, request.precision, "failed", reason=reason, exit_code=1)


def _advice(task: ExportTask) -> str:
    return (
        f"Export it alone, which has no time limit, to see its output: --target {task.target} "
        f"--precision {task.request.precision}"
    )


def export_several(
    tasks: Sequence[ExportTask], *, on_start: Callable[[ExportTask], None] = lambda task: None
) -> tuple[ExportOutcome, ...]:
    """What became of each, in their order. They share what they compute alike; see `Shared`.

    Two run at a time where the machine has two cores, in an order in which they hardly wait for what another makes.
    on_start: told of each as it starts, in a thread of its own.
    """
    at_once = max(1, min(at_a_time(), len(tasks)))
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with tempfile.TemporaryDirectory(prefix="lawder-edge-") as folder:

        def run(task: ExportTask) -> ExportOutcome:
            on_start(task)
            return export_isolated(replace(task, shared=Path(folder)), threads=threads)

        pool = ThreadPoolExecutor(at_once)
        try:
            running = {task: pool.submit(run, task) for task in in_turns(tasks)}
            return tuple(running[task].result() for task in tasks)
        finally:
            pool.shutdown(cancel_futures=True)


def in_turns(tasks: Sequence[ExportTask]) -> tuple[ExportTask, ...]:
    """Ordered so that those which are written from the same form, which the first has to make, are far apart."""
    before: Counter[tuple[str | None, bool]] = Counter()
    turns: list[int] = []
    for task in tasks:
        form = (get_target(task.target).form(task.request.precision), task.request.precision == "int8")
        turns.append(before[form])
        before[form] += 1
    return tuple(task for _, task in sorted(zip(turns, tasks, strict=True), key=lambda pair: pair[0]))
