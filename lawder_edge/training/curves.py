"""Writes a run's curves: a CSV to read by program, a PNG to look at."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from lawder_edge.files import write_file
from lawder_edge.training.config import PassRecord

CURVE_FILES = ("curves.csv", "curves.png")


def write_curves(folder: Path, history: Sequence[PassRecord]) -> None:
    """`CURVE_FILES` in `folder`, replaced as wholes."""
    for name, content in zip(CURVE_FILES, (rows_as_csv(history, PassRecord), draw_curves(history)), strict=True):
        write_file(folder / name, content)


def rows_as_csv(rows: Sequence[Any], kind: type[Any]) -> bytes:
    """Rows of a dataclass, with its fields as the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()


def draw_curves(history: Sequence[PassRecord]) -> bytes:
    """Loss and validation Dice over the passes, as PNG bytes; a grey line marks a change of size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    passes = [row.pass_index + 1 for row in history]
    left.plot(passes, [row.loss for row in history], color="#0072B2")
    left.set(xlabel="pass", ylabel="training loss")
    scored = [(row.pass_index + 1, row.val_dice) for row in history if row.val_dice is not None]
    right.plot([p for p, _ in scored], [d for _, d in scored], color="#D55E00")
    right.set(xlabel="pass", ylabel="validation Dice")
    for before, after in pairwise(history):
        if before.size != after.size:
            for axis in (left, right):
                axis.axvline(after.pass_index + 0.5, color="0.7", linewidth=1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": ""})
    return buffer.getvalue()
