"""LAW's delta over training on pictures that a generator drew: the paper's figure 8, without patients.

    lawder-edge synth sample -n 4 --seed 3 --out runs/shown
    python benchmarks/law_figure8.py runs/law-snapshots --pictures runs/shown --out docs/figure8.png

The run is one of `lawder-edge synth train --arm law --snapshots 0 250 500 ...`; its generator.safetensors is the last
step.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lawder_edge.errors import LawderError
from lawder_edge.files import write_file
from lawder_edge.synthesis.delta_figure import STEPS, draw_figure, keep_deltas
from lawder_edge.synthesis.generator import Generator, read_generator, start_from
from lawder_edge.synthesis.score_files import read_pictures
from lawder_edge.synthesis.train import GENERATOR_FILE, snapshot_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with the snapshots")
    parser.add_argument("--last", type=Path, help="generator of a longer run of the same seed, in place of RUN's own")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of `synth sample`, of which 4 are shown")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write; replaced where it exists")
    args = parser.parse_args()
    pictures = read_pictures(args.pictures, limit=4)
    files = [args.run / snapshot_name(step) for step in STEPS] + [args.last or args.run / GENERATOR_FILE]
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            record = read_generator(file).record
            generator = Generator(record.config)
            start_from(file, generator, record.config)
            keep_deltas(generator, record.config, pictures, folder=Path(folder), step=record.step)
        write_file(args.out, draw_figure(record.config, pictures, folder=Path(folder), last=record.step))
    print(f"{args.out}: delta at steps {', '.join(map(str, STEPS))} and {record.step}")


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
