"""The runs of the boards as a table in Markdown: python firmware_examples/table.py OUT, after make run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HEADER = ("run", "arena", "picture + mask", "stack used", "RAM in all", "flash", "instructions a frame, million")
_FIELDS = ("arena bytes", "picture and mask bytes", "other static bytes", "stack used bytes", "flash bytes")


def row_of(name: str, said: str) -> tuple[str, ...] | None:
    """A run's cells under `HEADER`, bytes but for the last. said: by the board. None where it did not succeed."""
    counts = [int(n) for n in re.findall(r"instructions (\d+)", said)]
    found = {f: re.search(rf"^{f} (\d+)$", said, re.M) for f in _FIELDS}
    numbers = {f: int(m.group(1)) for f, m in found.items() if m}
    if "every mask is" not in said or not counts or len(numbers) < len(_FIELDS):
        return None
    arena, frame, other, stack, flash = (numbers[f] for f in _FIELDS)
    cells = (arena, frame, stack, arena + frame + other + stack, flash)
    return (name, *(f"{n:,}" for n in cells), f"{max(counts) / 1e6:.1f}")


def main() -> int:
    rows = [row_of(path.stem, path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.txt"))]
    for row in (HEADER, ("---", *("---:",) * (len(HEADER) - 1)), *(r for r in rows if r)):
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
