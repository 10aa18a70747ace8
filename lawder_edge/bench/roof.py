"""The most that this machine does: `python -m lawder_edge.bench.roof` prints a Roof for the threads it is given."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable

from lawder_edge.bench.rows import Roof
from lawder_edge.codec import decode
from lawder_edge.errors import BadBundle
from lawder_edge.processes import thread_environment

# Large enough that a product is bound by arithmetic, and arrays far beyond the last cache.
SIDE, FLOATS = 768, 1 << 24
_REPEATS = 7


def measure_roof(threads: int) -> Roof | None:
    """In a process of its own, since BLAS reads its threads as it is loaded. None where that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "lawder_edge.bench.roof"],
        capture_output=True,
        text=True,
        check=False,
        env=thread_environment(threads),
    )
    try:
        return decode(Roof, done.stdout, source="roof")
    except BadBundle:
        return None


def _best_s(call: Callable[[], object]) -> float:
    """The least of a few times: what the machine can do, other work left out."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the Roof as JSON."""
    import numpy as np

    a = np.ones((SIDE, SIDE), np.float32)
    product_s = _best_s(lambda: a @ a)
    x, y, z = (np.ones(FLOATS, np.float32) for _ in range(3))
    sum_s = _best_s(lambda: np.add(x, y, out=z))
    roof = Roof(gflops=2 * SIDE**3 / product_s / 1e9, gbytes=3 * 4 * FLOATS / sum_s / 1e9)
    print(json.dumps(dataclasses.asdict(roof)))


if __name__ == "__main__":
    main()
