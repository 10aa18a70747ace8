"""What `export --report` adds to exports: what they cost, and pictures of them. Writes files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lawder_edge.bench.rows import BenchReport, BenchSpec
from lawder_edge.bench.run import bench
from lawder_edge.bundle.store import open_bundle
from lawder_edge.exporting.outcome import ExportOutcome
from lawder_edge.exporting.picture import masks_of_bundle
from lawder_edge.exporting.request import ExportRequest, ExportTask
from lawder_edge.files import make_way, write_file, write_png
from lawder_edge.targets.registry import get_target


def picture_of(out: Path) -> Path:
    """Where the masks of exports into `out` are drawn."""
    return out.with_name(out.name + ".png")


def check_pictures(out: Path, tasks: Sequence[ExportTask]) -> None:
    """Raises OutputExists where a picture of these exports stands already."""
    drawings = [get_target(task.target).drawing_of(task.out) for task in tasks]
    for path in (picture_of(out), *drawings):
        if path is not None:
            make_way(path, overwrite=False)


def measure(found: Sequence[ExportOutcome], model: str, *, progress: Callable[[int, int, str], None]) -> BenchReport:
    """What the model costs in PyTorch and in every bundle that runs here, on one thread."""
    return bench([model, *_running(found)], BenchSpec(threads=1), on_step=progress)


def draw(found: Sequence[ExportOutcome], request: ExportRequest, out: Path) -> tuple[str, ...]:
    """Draw masks of the first bundle that runs here into `picture_of(out)`, and the drawings of targets beside bundles.

    Returns: a sentence on each. Raises what reading the request's images and writing raise.
    """
    said = []
    running = _running(found)
    if running:
        drawn = masks_of_bundle(Path(running[0]), data=request.data, split=request.split, skip_bad=request.skip_bad)
        write_png(picture_of(out), drawn)
        said.append(f"masks drawn in {picture_of(out)}")
    for row in found:
        record = get_target(row.target)
        drawn_at = record.drawing_of(Path(row.bundle)) if row.bundle else None
        if record.drawing is not None and drawn_at is not None:
            write_file(drawn_at, record.draw(open_bundle(Path(row.bundle))))
            said.append(f"{record.drawing.shows} drawn in {drawn_at}")
    return tuple(said)


def _running(found: Sequence[ExportOutcome]) -> list[str]:
    """Folders of bundles. What could not be run to compare it cannot be run to time it."""
    return [row.bundle for row in found if row.bundle and row.status != "unverified-here"]
