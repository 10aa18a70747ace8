"""What `synth sample` costs: pictures a second and per 1,000, by one process and by two that share the work (A B A B).

    python benchmarks/synth_throughput.py --turns 4 --pictures 4

One thread a process. The processes are started once, load the generator and draw a picture before anything is timed, so
that their start is not in the numbers. In each turn one process draws all of its pictures, then two draw half of them
each; each writes its own dataset folder, as `synth sample` does. Wall time is that of the slower process; the
processor's time, in which other work on the machine is not, is summed over both.

Without --model the generator has random weights, which cost what trained ones do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from lawder_edge.bench.ratios import ratio
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.solver import Solver


@dataclass
class Turns:
    """Of one number of processes: seconds a picture of each turn."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def serve(pipe: Connection, model: Path, solver: Solver) -> None:
    """A process of its own: draws as many pictures as it is asked for, and answers with the processor's seconds."""
    import torch

    from lawder_edge.synthesis.generator import load_generator
    from lawder_edge.synthesis.masks import ProceduralMasks
    from lawder_edge.synthesis.sample import sample

    torch.set_num_threads(1)
    generator = load_generator(model)
    masks = ProceduralMasks(generator.mask_shapes.numpy(), size=generator.record.config.size)
    while (asked := pipe.recv()) is not None:
        seed, n = asked
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            sample(generator, masks, out=Path(folder) / "drawn", n=n, seed=seed, solver=solver, cpu=True)
            pipe.send(time.process_time() - started)


def turn(pipes: Sequence[Connection], *, seed: int, pictures: int) -> tuple[float, float]:
    """`pictures` shared evenly by the processes. Returns: seconds a picture, of the wall and of the processors."""
    started = time.perf_counter()
    try:
        for place, pipe in enumerate(pipes):
            pipe.send((seed + place, pictures // len(pipes)))
        processor = sum(pipe.recv() for pipe in pipes)
    except (EOFError, OSError) as error:
        raise BadInput("a process ended before it had drawn its pictures; what it died of stands above.") from error
    return (time.perf_counter() - started) / pictures, processor / pictures


def measured(model: Path, solver: Solver, *, turns: int, pictures: int) -> tuple[Turns, Turns]:
    """By one process, and by two. pictures: of each turn, an even number."""
    # Not forked: PyTorch's threads do not outlive a fork.
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, model, solver), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    turn(pipes, seed=0, pictures=2)
    found = Turns(), Turns()
    for number in range(turns):
        for kind, used in zip(found, (pipes[:1], pipes), strict=True):
            wall, processor = turn(used, seed=2 * number + 1, pictures=pictures)
            kind.wall.append(wall)
            kind.processor.append(processor)
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join()
    return found


def random_generator(path: Path) -> None:
    """Of the default recipe, with phantoms' masks to draw like."""
    import torch

    from lawder_edge.synthesis.generator import Generator, GeneratorRecord, save_generator
    from lawder_edge.synthesis.shapes import measure_shapes

    config = SynthConfig()
    masks = np.stack([make_frame(np.random.default_rng(i), size=(config.size, config.size)).mask for i in range(32)])
    torch.manual_seed(0)
    generator = Generator(config)
    save_generator(
        path, dict(generator.denoiser.state_dict()), GeneratorRecord(config, 0), weighter=None,
        mask_shapes=torch.from_numpy(measure_shapes(masks)),
    )  # fmt: skip


def table(one: Turns, two: Turns) -> list[str]:
    """Lines of Markdown: medians over the turns, and the ratio of one process to two with its 95 % interval."""
    lines = [
        "| processes | pictures a second | wall s a picture | times faster [95 %] | processor s a picture | "
        "wall time of 1,000 | processor time of 1,000 | core-hours of 1,000 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n, turns in ((1, one), (2, two)):
        wall, processor = float(np.median(turns.wall)), float(np.median(turns.processor))
        r = ratio("", "", turns.wall, one.wall)
        faster = "1.00" if n == 1 else f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]"
        lines.append(
            f"| {n} | {1 / wall:.2f} | {wall:.2f} | {faster} | {processor:.2f} | {wall * 1000 / 60:.0f} min | "
            f"{processor * 1000 / 60:.0f} min | {processor * 1000 / 3600:.2f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="generator.safetensors; random weights of the default recipe without"
    )
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=4, help="of each turn, even")
    parser.add_argument("--sampler", default="dpm")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=1.5)
    args = parser.parse_args()
    if args.turns < 1 or args.pictures < 2 or args.pictures % 2:
        parser.error("--turns from 1 on, --pictures an even number from 2 on")
    solver = Solver(args.sampler, args.steps, args.guidance)
    solver.check()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if model is None:
            model = Path(folder) / "generator.safetensors"
            random_generator(model)
        one, two = measured(model, solver, turns=args.turns, pictures=args.pictures)
    print("\n".join(table(one, two)))
    print(
        f"\n{args.turns} turns of {args.pictures} pictures, {solver.sampler}, {solver.steps} steps, guidance "
        f"{solver.guidance}; {os.cpu_count()} processors, load {before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


if __name__ == "__main__":
    try:
        main()
    except (LawderError, OSError) as error:
        sys.exit(f"error: {error}")
