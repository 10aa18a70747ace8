"""How much faster one row is than another, measured in turns so that a drifting machine cancels out."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Literal

from lawder_edge.bench.latency import percentile
from lawder_edge.bench.rows import Ratio, Row

_DRAWS = 2000


def ratios(rows: Sequence[Row], *, seed: int = 0) -> tuple[Ratio, ...]:
    """Every measured row against the first measured one. seed: of the bootstrap over turns."""
    measured = [(row.source, row.measured) for row in rows if row.measured is not None]
    found = []
    for source, m in measured[1:]:
        name, base = measured[0]
        found.append(ratio(source, name, m.infer.turns_ms, base.infer.turns_ms, of="infer", seed=seed))
        if m.cpu is not None and base.cpu is not None:
            found.append(ratio(source, name, m.cpu.turns_ms, base.cpu.turns_ms, of="cpu", seed=seed))
    return tuple(found)


def ratio(
    source: str,
    baseline: str,
    turns_ms: Sequence[float],
    baseline_ms: Sequence[float],
    *,
    of: Literal["infer", "cpu"] = "infer",
    seed: int = 0,
) -> Ratio:
    """turns_ms, baseline_ms: median of each turn, above 0, turn by turn at the same time, at least one."""
    of_turns = [b / t for t, b in zip(turns_ms, baseline_ms, strict=True)]
    rng = random.Random(seed)
    draws = sorted(statistics.median(rng.choices(of_turns, k=len(of_turns))) for _ in range(_DRAWS))
    return Ratio(source, baseline, of, statistics.median(of_turns), percentile(draws, 2.5), percentile(draws, 97.5))
