"""Parameters and FLOPs of architectures by name, all counted in one process that loads PyTorch:
`python -m lawder_edge.bench.static ARCHITECTURES_JSON` prints them.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    """The rows, with the counts of architectures that their own processes did not know.

    Those that a PyTorch row knows are counted; a process is started for the others. Unchanged without PyTorch.
    """
    measured = [row.measured for row in rows if row.measured is not None]
    # Quantised networks are counted in their deploy form.
    known = {_architecture(m): m.static for m in measured if m.static is not None and m.artifact.precision == "fp32"}
    wanted = tuple(
        dict.fromkeys(_architecture(m) for m in measured if m.static is None and _architecture(m) not in known)
    )
    counts = {**known, **(_counted(wanted) if wanted else {})}
    return tuple(
        dataclasses.replace(row, measured=dataclasses.replace(m, static=counts.get(_architecture(m))))
        if (m := row.measured) is not None and m.static is None
        else row
        for row in rows
    )


def _counted(wanted: Sequence[Architecture]) -> Mapping[Architecture, Static | None]:
    """Nothing where the process that counts fails, as without PyTorch."""
    task = json.dumps(dataclasses.asdict(Architectures(tuple(wanted))))
    command = [sys.executable, "-m", "lawder_edge.bench.static", task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return dict(zip(wanted, decode(Counts, done.stdout, source="counts").found, strict=True))
    except BadBundle:
        return {}


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
        found.append(count(module, (a.height, a.width), channels=a.channels).static)
    print(json.dumps(dataclasses.asdict(Counts(tuple(found)))))


if __name__ == "__main__":
    main(sys.argv[1])
