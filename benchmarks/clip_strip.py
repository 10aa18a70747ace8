"""Frames of a clip side by side in a PNG, for a page.

lawder-edge demo --save out.webm --frames 300
python benchmarks/clip_strip.py out.webm docs/demo.png --frames 10 70 95 130 290
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lawder_edge.files import write_png
from lawder_edge.video.record import fit
from lawder_edge.video.sources import FileSource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", required=True, help="their numbers, from 0")
    parser.add_argument("--height", type=int, default=240, help="of the strip in pixels")
    given = parser.parse_args()
    source = FileSource(given.clip)
    wanted = {number: place for place, number in enumerate(given.frames)}
    strip: list[np.ndarray | None] = [None] * len(wanted)
    while (frame := source.read()) is not None:
        if frame.number in wanted:
            height, width = frame.image.shape[:2]
            strip[wanted[frame.number]] = fit(frame.image, (given.height, round(width * given.height / height)))
    source.close()
    found = [picture for picture in strip if picture is not None]
    if len(found) < len(strip):
        parser.error(f"{given.clip} has no frame {max(wanted)}")
    write_png(given.out, np.concatenate(found, axis=1))


if __name__ == "__main__":
    main()
