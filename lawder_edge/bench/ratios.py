"""How much faster one row is than another, measured in turns so that a drifting machine cancels out."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from lawder_edge.bench.latency import percentile
from lawder_edge.bench.rows import Ratio, Row

_DRAWS = 2000


def ratios(rows: Sequence[Row], *, seed: int = 0) -> tuple[Ratio, ...]:
    """Every measured row against the first measured one. seed: of the bootstrap over turns."""
    measured = [(row.source, row.measured.infer.turns_ms) for row in rows if row.measured is not None]
    if len(measured) < 2:
        return ()
    (name, base), *others = measured
    return tuple(ratio(source, name, turns, base, seed=seed) for source, turns in others)


def ratio(
    source: str, baseline: str, turns_ms: Sequence[float], baseline_ms: Sequence[float], *, seed: int = 0
) -> Ratio:
    """turns_ms, baseline_ms: median latency of each turn, turn by turn at the same time, at least one."""
    of_turns = [b / t for t, b in zip(turns_ms, baseline_ms, strict=True)]
    rng = random.Random(seed)
    draws = sorted(statistics.median(rng.choices(of_turns, k=len(of_turns))) for _ in range(_DRAWS))
    return Ratio(source, baseline, statistics.median(of_turns), percentile(draws, 2.5), percentile(draws, 97.5))
