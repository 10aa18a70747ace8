"""`lawder-edge bench`"""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

if TYPE_CHECKING:
    from lawder_edge.bench.rows import BenchReport

Format: TypeAlias = Literal["table", "json", "csv", "md"]


def bench(
    model: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-m"])],
    size: tuple[int, int] | None = None,
    frame: tuple[int, int] = (480, 640),
    threads: int = 1,
    min_time: float = 2.0,
    min_iters: int = 50,
    timeout: float = 600.0,
    out: Path | None = None,
    overwrite: bool = False,
    format: Format = "table",
) -> int:
    """Measure parameters, MACs, file size, latency and memory, each model in a process of its own.

    Example: lawder-edge bench --model order order-onnx --threads 1 --format md --out bench.md

    Exit code 1 if a row failed, 2 if it failed for bad input, 4 if its runtime is not installed.

    Args:
        model: model names (order, my_package:Net), checkpoints (.safetensors) or bundle folders, a row each.
        size: height and width of the network's input in pixels; each model's own when left out.
        frame: height and width of the RGB frame that whole predictions start from.
        threads: of the runtime; 0 leaves the choice to it.
        min_time: seconds that bare network and whole prediction are measured for, each.
        min_iters: calls that each is measured for, at least.
        timeout: seconds after which a row is given up.
        out: file for the result in --format; the table is printed all the same.
        overwrite: replace the --out file.
        format: of the result.
    """
    from lawder_edge.bench.latency import LatencyRule
    from lawder_edge.bench.rows import BenchSpec
    from lawder_edge.bench.run import bench as measure
    from lawder_edge.cli.progress import progress
    from lawder_edge.errors import BadInput, OutputExists
    from lawder_edge.files import write_file

    if not model:
        raise BadInput("--model names nothing to measure. Give model names, checkpoints or bundle folders.")
    if out is not None:
        # Found now rather than after minutes of measuring.
        if out.is_dir() or (out.exists() and not overwrite):
            raise OutputExists(f"{out} exists. Add --overwrite to replace a file, or name another.")
        out.parent.mkdir(parents=True, exist_ok=True)
    rule = LatencyRule(min_iters=min_iters, min_time_s=min_time)
    spec = BenchSpec(size=size, frame=frame, threads=threads, rule=rule, timeout_s=timeout)
    with progress("measuring") as report:
        found = measure(model, spec, on_row=report)
    for row in found.rows:
        if row.log.strip():
            print(f"--- {row.source} wrote:\n{row.log.rstrip()}\n---", file=sys.stderr)
    if out is not None:
        write_file(out, _render(found, format).encode())
        print(f"{out}: written", file=sys.stderr)
    sys.stdout.write(_render(found, "table" if out is not None else format))
    return found.exit_code


def _render(found: BenchReport, format: Format) -> str:
    from lawder_edge.bench import report
    from lawder_edge.cli.tables import print_table

    if format == "json":
        return report.to_json(found)
    if format == "csv":
        return report.to_csv(found)
    if format == "md":
        return report.to_markdown(found)
    with redirect_stdout(io.StringIO()) as text:
        print("\n".join(report.header(found)), end="\n\n")
        print_table(report.HEADINGS, [report.cells(row) for row in found.rows], right=report.NUMERIC)
        print("", *report.notes(found), sep="\n")
    return text.getvalue()
