"""What verbs say of images while they read them."""

from __future__ import annotations

import sys


class ReadingNotes:
    """Tells of each image that is left out at once, and of masks that had to be interpreted at the end.

    bad: how many images were left out so far.
    """

    def __init__(self) -> None:
        self.bad = 0
        self._interpreted: list[str] = []

    def left_out(self, name: str, reason: str) -> None:
        self.bad += 1
        print(f"left out {name}: {reason}", file=sys.stderr)

    def interpreted(self, note: str) -> None:
        self._interpreted.append(note)

    def finish(self, total: int | None = None) -> None:
        """total: how many images there were, where that is known."""
        if self.bad and total is not None:
            print(f"{self.bad} of {total} images left out", file=sys.stderr)
        if self._interpreted:
            from lawder_edge.data.datasets import first_few

            said = f"{len(self._interpreted)} masks had to be interpreted: {first_few(self._interpreted)}"
            print(said, file=sys.stderr)
