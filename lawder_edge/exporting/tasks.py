"""The exports that a call of `lawder-edge export` comes to, each with its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lawder_edge.exporting.outcome import ExportOutcome, left_out
from lawder_edge.exporting.request import ExportRequest, ExportTask
from lawder_edge.targets.registry import targets

# What `--precision all` means: what every target has.
BOTH = ("fp32", "int8")


def tasks_of(target: str, request: ExportRequest, out: Path) -> tuple[list[ExportTask], list[ExportOutcome]]:
    """target: a name, or all. request: at one precision, or with all targets at all. out: of one, or of their folders.

    Returns: the exports, and the targets that cannot give what is asked for, of all.
    """
    if target != "all":
        return [ExportTask(target, request, out)], []
    tasks, others = [], []
    for precision in BOTH if request.precision == "all" else (request.precision,):
        for name, record in targets().items():
            one = replace(request, precision=precision)
            cannot = left_out(name, one)
            if cannot is not None:
                others.append(cannot)
                continue
            # All at once are of fp32, where they have it.
            plain = "fp32" if "fp32" in record.precisions else record.usual_precision
            folder = out / (name if precision == plain else f"{name}-{precision}")
            tasks.append(ExportTask(name, one, folder))
    return tasks, others
