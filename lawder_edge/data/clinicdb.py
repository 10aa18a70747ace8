"""The 29 sequences of CVC-ClinicDB (Bernal et al., CMIG 2015): frames of one sequence show the same polyp.

The 612 frames are numbered through; a sequence is a run of numbers. Frames of one sequence on both sides of a split
make a test score meaningless, so splits keep sequences whole.
"""

from __future__ import annotations

import bisect

NUM_FRAMES = 612

# First frame of each sequence; the last frame is the one before the next sequence's first.
FIRST_FRAMES = (
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)


def sequence_of(frame: int) -> int:
    """Sequence number (1 to 29) of a frame number (1 to 612).

    Raises:
        ValueError: the frame number is outside 1 to 612.
    """
    if not 1 <= frame <= NUM_FRAMES:
        raise ValueError(f"CVC-ClinicDB has frames 1 to {NUM_FRAMES}, not {frame}")
    return bisect.bisect_right(FIRST_FRAMES, frame)


def frame_number(stem: str) -> int | None:
    """Frame number of a file stem ("7" or "007"); None for other names."""
    if not (stem.isascii() and stem.isdigit()):
        return None
    frame = int(stem)
    return frame if 1 <= frame <= NUM_FRAMES else None
