"""RAM that a network may take, and whether it does with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lawder_edge.errors import BadInput, OverBudget

_UNITS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True)
class Need:
    """Bytes. arena_bytes, frame_bytes: arena, and picture with mask, where both are whole in memory. rows_arena_bytes:
    the arena where they are handed over row by row. The stack is not in them.
    """

    arena_bytes: int
    frame_bytes: int
    rows_arena_bytes: int

    @property
    def whole_bytes(self) -> int:
        """With the frame in memory."""
        return self.arena_bytes + self.frame_bytes

    @property
    def least_bytes(self) -> int:
        """Whole or row by row, whichever takes less: a network that cannot hand over rows keeps both."""
        return min(self.whole_bytes, self.rows_arena_bytes)


def bytes_of(text: str) -> int:
    """256K, 1M or 131072 as bytes; K is 1024. Raises BadInput for anything else."""
    found = re.fullmatch(r"(\d+) ?([kKmM]?)(i?[bB])?", text.strip())
    if not found or int(found[1]) == 0:
        raise BadInput(f"--ram {text}: wanted bytes, or a number with K or M, such as 256K.")
    return int(found[1]) * _UNITS[found[2].lower()]


def check_ram(need: Need, ram_bytes: int) -> str:
    """How a network fits `ram_bytes`, in words. Raises OverBudget with the smallest budget that works."""
    if need.whole_bytes <= ram_bytes:
        return f"fits {ram_bytes} bytes with picture and mask in memory: {need.whole_bytes} bytes"
    if need.rows_arena_bytes <= ram_bytes:
        return (
            f"fits {ram_bytes} bytes row by row (run_rows): {need.rows_arena_bytes} bytes; picture and mask in memory "
            f"would make it {need.whole_bytes}"
        )
    raise OverBudget(
        f"--ram: the network does not fit {ram_bytes} bytes. The smallest budget that works is {need.least_bytes}, or "
        f"{need.whole_bytes} with picture and mask in memory. Give it that, or a smaller --size."
    )
