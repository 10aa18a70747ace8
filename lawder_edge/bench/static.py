"""Parameters and FLOPs of architectures by name, all counted in one process that loads PyTorch:
`python -m lawder_edge.bench.static ARCHITECTURES_JSON` prints them.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from lawder_edge.bench.rows import Measured, Row, Static
from lawder_edge.codec import decode
from lawder_edge.errors import BadBundle


@dataclass(frozen=True)
class Architecture:
    """model: as `create_model` takes it. height, width: of the input in pixels."""

    model: str
    height: int
    width: int
    channels: int
    classes: int


@dataclass(frozen=True)
class Architectures:
    """What to count."""

    wanted: tuple[Architecture, ...]


@dataclass(frozen=True)
class Counts:
    """In the order of what was wanted; None for what is not known here."""

    found: tuple[Static | None, ...]


def with_counts(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with the counts of architectures that their own processes did not know. Unchanged without PyTorch."""
    of = {row: _architecture(row.measured) for row in rows if row.measured is not None and row.measured.static is None}
    wanted = tuple(dict.fromkeys(of.values()))
    if not wanted:
        return tuple(rows)
    task = json.dumps(dataclasses.asdict(Architectures(wanted)))
    command = [sys.executable, "-m", "lawder_edge.bench.static", task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        counts = dict(zip(wanted, decode(Counts, done.stdout, source="counts").found, strict=True))
    except BadBundle:
        return tuple(rows)
    return tuple(
        dataclasses.replace(row, measured=dataclasses.replace(row.measured, static=counts[of[row]]))
        if row in of and row.measured is not None
        else row
        for row in rows
    )


def _architecture(m: Measured) -> Architecture:
    return Architecture(m.artifact.model, m.size[0], m.size[1], m.channels, m.classes)


def main(task_json: str) -> None:
    """Print the counts as JSON."""
    from lawder_edge.bench.flops import count
    from lawder_edge.models import MODELS, create_model

    found: list[Static | None] = []
    for a in decode(Architectures, task_json, source="task").wanted:
        # A manifest must not make a network's own code run.
        if a.model not in MODELS:
            found.append(None)
            continue
        module = create_model(a.model, in_channels=a.channels, num_classes=a.classes)
        cost = count(module, (a.height, a.width), channels=a.channels)
        found.append(Static(cost.params, cost.macs, cost.activations, cost.moved))
    print(json.dumps(dataclasses.asdict(Counts(tuple(found)))))


if __name__ == "__main__":
    main(sys.argv[1])
