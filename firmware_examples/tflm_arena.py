"""The smallest arena with which TensorFlow Lite Micro runs an int8 .tflite, by its Python wheel (64 bit).

    pip install --no-deps tflite-micro==0.dev20261023182759
    python firmware_examples/tflm_arena.py FILE.tflite

Each size is tried in a process of its own: the wheel ends its process over some of them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_STEP = 16
_TRY = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_bytes(open(sys.argv[1], "rb").read(), arena_size=int(sys.argv[2]))
interpreter.set_input(np.zeros(interpreter.get_input_details(0)["shape"], np.int8), 0)
interpreter.invoke()
"""


def runs(model: Path, arena_bytes: int) -> bool:
    """Whether the model is allocated and runs in so much."""
    command = [sys.executable, "-c", _TRY, str(model), str(arena_bytes)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def smallest_arena(model: Path, most: int = 64 * 1024**2) -> int:
    """In bytes, a multiple of 16. Raises ValueError where `most` is not enough."""
    if not runs(model, most):
        raise ValueError(f"{model} does not run in {most} bytes; wanted an int8 .tflite")
    low, high = 0, most // _STEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(model, middle * _STEP) else (middle, high)
    return high * _STEP


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: arena {smallest_arena(Path(name)):,} bytes, file {Path(name).stat().st_size:,} bytes")
