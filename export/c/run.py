"""Segment images with this bundle's C, on a device that has Python, numpy, a C compiler, and Pillow or OpenCV.

    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

A device without Python: see main.c and Makefile. Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad
input, 3 the check failed, 4 a package or the compiler is missing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load(name: str) -> Any:
    """A module of this bundle, whatever else of that name is installed."""
    spec = importlib.util.spec_from_file_location(f"bundle_{name}", HERE / f"{name}.py")
    if spec is None or spec.loader is None or not (HERE / f"{name}.py").is_file():
        sys.exit(f"error: {name}.py is missing. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"bundle_{name}"] = module
    spec.loader.exec_module(module)
    return module


# A cache folder would be files that the manifest does not list.
sys.dont_write_bytecode = True
device = load("device")


def open_network(settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network, compiled here: (1, C, h, w) float32 to (1, classes, h, w) float32 logits, on one core."""
    host = load("host")
    try:
        network = host.Network(settings.model)
    except host.NoCompilerError as error:
        raise device.Failure(str(error), 4) from error
    except host.NetworkError as error:
        raise device.Failure(f"{error}. Copy the bundle again, or name another compiler in CC.") from error
    infer: Callable[[Any], Any] = network.infer
    return infer


if __name__ == "__main__":
    sys.exit(device.main(sys.argv[1:], folder=HERE, opener=open_network, packages="numpy pillow"))
