"""A benchmark: one process a row, all loaded one after the other and then measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lawder_edge.bench.machine import Machine, describe_machine
from lawder_edge.bench.noise import Watch
from lawder_edge.bench.process import WORKER, RowProcess
from lawder_edge.bench.ratios import ratios
from lawder_edge.bench.roof import measure_roof
from lawder_edge.bench.rows import BenchReport, BenchSpec, Noise, Row
from lawder_edge.bench.static import with_counts
from lawder_edge.errors import BadInput
from lawder_edge.threads import check_threads

# An idle desktop or board stays below this.
_QUIET_PERCENT = 15.0
# A fixed computation varies by a few percent on a quiet machine.
_STEADY_PERCENT = 15.0


def bench(
    sources: Sequence[str],
    spec: BenchSpec,
    *,
    on_step: Callable[[int, int, str], None] | None = None,
    worker: Sequence[str] = WORKER,
) -> BenchReport:
    """Measure each source (model name, checkpoint or bundle folder), each in a process of its own.

    All are loaded and warmed up, one after the other; then each measures a turn, and again (A B C A B C), so that the
    ratio of two rows is free of what the machine does meanwhile. A source that cannot be measured costs its own row.
    on_step: called with steps done, steps in all, and what comes next. worker: the command that gets a task as its last
    argument and answers as `worker` does.

    Raises BadInput for a number of threads below 0, and for no part that is included.
    """
    check_threads(spec.threads)
    if not spec.include:
        raise BadInput("--include names no part of a prediction; wanted one or more of pre, infer, post.")
    machine, roof, watch = describe_machine(), measure_roof(spec.threads), Watch()
    steps, done = len(sources) * (1 + spec.rule.turns), 0

    def tell(text: str) -> None:
        nonlocal done
        if on_step:
            on_step(done, steps, text)
        done += 1

    processes: list[RowProcess] = []
    try:
        for source in sources:
            tell(f"loading {source}")
            processes.append(RowProcess(source, spec, worker=worker))
            processes[-1].wait()
            watch.listen()
        for _ in range(spec.rule.turns):
            for process in processes:
                tell(process.source)
                process.ask("turn")
            watch.listen()
        for process in processes:
            process.ask("end")
        tell("")
    finally:
        for process in processes:
            process.end()
    noise = watch.noise()
    rows = with_counts([process.row for process in processes if process.row is not None])
    return BenchReport(machine, spec, noise, roof, rows, ratios(rows), warnings(machine, noise, rows))


def warnings(machine: Machine, noise: Noise, rows: Sequence[Row]) -> tuple[str, ...]:
    """What a reader should know before believing the numbers, a sentence each."""
    said: list[str] = []
    if noise.busy_percent > _QUIET_PERCENT or noise.spread_percent > _STEADY_PERCENT:
        said.append(
            f"The machine was not quiet: other work used {noise.busy_percent:.0f} % of the CPU, and one fixed "
            f"computation took up to {noise.spread_percent:.0f} % longer (p95) than usual. Believe the ratios, and the "
            "processor's time, rather than the milliseconds."
        )
    if noise.throttled:
        said.append(f"The processor slowed down for heat {noise.throttled} times while rows were measured.")
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
