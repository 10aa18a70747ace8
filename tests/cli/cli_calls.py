"""The command line called as a user calls it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lawder_edge.cli.main import run

# 24 pictures of 96x128, seen ten times at 64 px: enough for masks that follow the pictures.
RECIPE = (
    "--schedule", "64x10", "--batch", "4", "--warmup-steps", "4", "--learning-rate", "3e-2", "--no-augment",
    "--ema-decay", "0.5", "--val-fraction", "0.2", "--val-every", "10", "--cpu", "--threads", "1",
)  # fmt: skip
# One pass over a handful of pictures, for what goes wrong before, during and after it.
BRIEF = (
    "--model", "mk_unet_t", "--schedule", "32x1", "--batch", "4", "--val-fraction", "0.25", "--no-augment",
    "--cpu", "--threads", "1",
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """Exit code and output of one call."""

    code: int
    out: str
    err: str


def call_cli(arguments: Sequence[object]) -> Said:
    """`lawder-edge` in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = run([str(a) for a in arguments])
        except SystemExit as end:  # help, and options that cannot be parsed
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Said(code, out.getvalue(), err.getvalue())


def done(arguments: Sequence[object]) -> Said:
    """A call that has to go well."""
    said = call_cli(arguments)
    assert said.code == 0, said.err
    return said


def refused(said: Said, *words: str, code: int = 2) -> None:
    """One line that says what is wrong, with all of `words` in it, and nothing that only a programmer understands."""
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.code == code, said.err
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    for word in words:
        assert word in lines[0]


def process_environment(*folders: Path) -> dict[str, str]:
    """Of a process that finds this package and what stands in `folders`, and keeps to one thread."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(str(p) for p in (*folders, root))
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def call_process(arguments: Sequence[object], *folders: Path) -> Said:
    """`lawder-edge` in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "lawder_edge", *map(str, arguments)],
        capture_output=True, text=True, env=process_environment(*folders), check=False,
    )  # fmt: skip
    return Said(ended.returncode, ended.stdout, ended.stderr)


def scene(seed: int, *, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth colour picture of its own, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(40, 256, (6, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def blob(*, height: int = 40, width: int = 48) -> np.ndarray:
    """A 0/255 mask (H, W) with a rectangle of foreground."""
    mask = np.zeros((height, width), np.uint8)
    mask[10:30, 12:36] = 255
    return mask
