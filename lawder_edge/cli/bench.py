"""`lawder-edge bench`"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

if TYPE_CHECKING:
    from lawder_edge.bench.compare import Limit
    from lawder_edge.bench.rows import BenchReport, Part

Format: TypeAlias = Literal["table", "json", "csv", "md"]


def bench(
    model: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-m"])] = (),
    size: tuple[int, int] | None = None,
    frame: tuple[int, int] = (480, 640),
    include: str = "pre,infer,post",
    threads: int = 1,
    pin: tuple[int, ...] = (),
    min_time: float = 1.0,
    min_iters: int = 50,
    turns: int = 10,
    timeout: float = 600.0,
    out: Path | None = None,
    html: Path | None = None,
    overwrite: bool = False,
    compare: Path | None = None,
    fail_if: tuple[str, ...] = (),
    force: bool = False,
    format: Format = "table",
) -> int:
    """Measure parameters, MACs, file size, latency and memory, each model in a process of its own, rows in turns.

    Example: lawder-edge bench --model order order-onnx --threads 1 --format md --out bench.md

    Exit code 1 if a row failed, 2 if it failed for bad input, 4 if no row has its runtime here, 5 if --fail-if forbids.

    Args:
        model: model names (order, my_package:Net), checkpoints (.safetensors) or bundle folders, a row each; when left
            out, the bundled weights in PyTorch and in every target that can be exported here, kept for the next time.
        size: height and width of the network's input in pixels; each model's own when left out.
        frame: height and width of the RGB frame that whole predictions start from.
        include: the parts that `frame` sums, of pre, infer and post.
        threads: of the runtime; 0 leaves the choice to it.
        pin: logical cores that rows may run on; all when left out.
        min_time: seconds that bare network and whole prediction are measured for, each.
        min_iters: calls that each is measured for, at least.
        turns: that these are split into; rows take turns, so that their ratios are free of a drifting machine.
        timeout: seconds without an answer after which a row is given up.
        out: file for the result in --format; the table is printed all the same.
        html: file for a page with everything: table, latencies, Dice against latency, roofline, memory.
        overwrite: replace the --out and --html files.
        compare: JSON of an earlier benchmark, to tell what changed.
        fail_if: with --compare: what must not be, such as "p95>+10%" or "memory>+5%".
        force: compare with another machine, or another way of measuring.
        format: of the result.
    """
    from lawder_edge.bench.compare import SAVED, check_comparable, parse_limit, read_saved
    from lawder_edge.bench.latency import LatencyRule
    from lawder_edge.bench.machine import describe_machine
    from lawder_edge.bench.rows import BenchSpec
    from lawder_edge.bench.run import bench as measure
    from lawder_edge.cli.progress import progress
    from lawder_edge.errors import BadInput
    from lawder_edge.exporting.bundled import bundled_sources
    from lawder_edge.files import make_way, read_given, write_file

    for file in (out, html):
        if file is not None:
            make_way(file, overwrite=overwrite)
    limits = [parse_limit(text) for text in fail_if]
    if limits and compare is None:
        raise BadInput("--fail-if says what must not grow, and there is nothing to grow from. Add --compare old.json.")
    old = None if compare is None else read_saved(read_given(compare, wanted=SAVED), source=str(compare))
    rule = LatencyRule(min_iters=min_iters, min_time_s=min_time, turns=turns)
    spec = BenchSpec(size, frame, _parts(include), threads, pin, rule, timeout)
    if old is not None and not force:
        check_comparable(old, describe_machine(), spec, source=str(compare))
    sources = model or bundled_sources(tell=_tell)
    with progress("measuring") as report:
        found = measure(sources, spec, on_step=report)
    for row in found.rows:
        if row.log.strip():
            print(f"--- {row.source} wrote:\n{row.log.rstrip()}\n---", file=sys.stderr)
    if out is not None:
        write_file(out, _render(found, format).encode())
        print(f"{out}: written", file=sys.stderr)
    if html is not None:
        from lawder_edge.bench.page import to_html

        write_file(html, to_html(found).encode())
        print(f"{html}: written", file=sys.stderr)
    sys.stdout.write(_render(found, "table" if out is not None else format))
    if old is None:
        return found.exit_code
    return _compare(old, found, limits, source=str(compare)) or found.exit_code


def _tell(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def _parts(text: str) -> tuple[Part, ...]:
    from lawder_edge.bench.rows import PARTS
    from lawder_edge.errors import BadInput

    asked = {word.strip() for word in text.split(",")}
    if not asked <= set(PARTS):
        raise BadInput(f"--include {text}: wanted one or more of {', '.join(PARTS)}, with commas between them.")
    return tuple(part for part in PARTS if part in asked)


def _compare(old: Mapping[str, Any], found: BenchReport, limits: Sequence[Limit], *, source: str) -> int:
    """Tell on stderr what changed. Returns: 5 where a limit forbids it, else 0."""
    from lawder_edge.bench.compare import changes, exceeded, unmeasured
    from lawder_edge.errors import BadInput, OverBudget

    changed = changes(old, found, limits)
    if not changed:
        raise BadInput(f"{source} has no row in common with this. Give --model as it was given then.")
    for change in changed:
        print(
            f"{change.source}: {change.name} {change.before:.4g} to {change.after:.4g}, {change.percent:+.1f} %",
            file=sys.stderr,
        )
    broken = (*unmeasured(old, found, limits), *exceeded(changed, limits))
    for sentence in broken:
        print(f"error: {sentence}", file=sys.stderr)
    return OverBudget.exit_code if broken else 0


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
        print_table(report.HEADINGS, report.table(found), right=report.NUMERIC)
        print("", *report.notes(found), sep="\n")
    return text.getvalue()
