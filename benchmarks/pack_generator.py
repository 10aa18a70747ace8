"""A trained generator in the form in which the package carries one: float16, at most 8 MB.

python benchmarks/pack_generator.py RUN/generator.safetensors lawder_edge/synthesis/weights/polyp128.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lawder_edge.errors import LawderError
from lawder_edge.synthesis.generator import pack_generator

MOST_BYTES = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path, help="generator.safetensors of `lawder-edge synth train`")
    parser.add_argument("out", type=Path, help="file to write; replaced where it exists")
    args = parser.parse_args()
    try:
        packed = pack_generator(args.generator, args.out)
    except LawderError as error:
        sys.exit(f"error: {error}")
    size = args.out.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"error: {args.out} has {size:,} bytes; the package carries {MOST_BYTES:,} at the most.")
    of = packed.record
    print(f"{args.out}: {size:,} bytes, weights {packed.sha256[:16]}, {of.step} steps of {of.config.arm}")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
