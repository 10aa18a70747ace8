"""Progress bars on stderr, plain lines where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lawder_edge.training.processes import is_first

if TYPE_CHECKING:
    from lawder_edge.training.config import Progress


class Report(Protocol):
    """Called with what is done, of how much, and a short text."""

    def __call__(self, done: int, total: int, text: str = "") -> None: ...


@contextmanager
def progress(label: str, *, every_s: float = 30.0, shown: bool = True) -> Iterator[Report]:
    """A bar with the time that is left; a line every `every_s` seconds where nobody looks at a terminal."""
    if not shown:
        yield lambda done, total, text="": None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None, note="")

            def report(done: int, total: int, text: str = "") -> None:
                bar.update(task, completed=done, total=total, note=text)

            yield report
        return

    start = last = time.monotonic()
    # What a resumed run had done before this one took no time of it.
    before: int | None = None

    def tell(done: int, total: int, text: str = "") -> None:
        nonlocal last, before
        now = time.monotonic()
        before = max(done - 1, 0) if before is None else before
        if now - last >= every_s or (done == total and now - start >= every_s):
            last = now
            left = (now - start) / max(done - before, 1) * (total - done)
            print(f"{label}: {done}/{total}, {left:.0f} s left {text}".rstrip(), file=sys.stderr, flush=True)

    yield tell


@contextmanager
def run_progress(label: str, *, run_file: Path) -> Iterator[Report]:
    """`progress` of a run, by the first of its processes; after Ctrl-C it says where the run was kept."""
    with progress(label, shown=is_first()) as report:
        try:
            yield report
        except KeyboardInterrupt:
            if is_first() and run_file.exists():
                print(f"{run_file}: kept; go on with --resume", file=sys.stderr)
            raise


def report_step(report: Report, p: Progress) -> None:
    """Where a segmenter's training stands."""
    best = "" if p.best_dice is None else f", best validation Dice {p.best_dice:.4f}"
    report(p.step, p.steps, f"pass {p.pass_index + 1}/{p.passes}, loss {p.loss:.3f}{best}")
