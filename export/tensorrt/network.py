"""Needs an NVIDIA GPU, Python, numpy, TensorRT, and Pillow or OpenCV.

Where the bundle holds no engine, run `sh build.sh` first; without engine or GPU the exit code is 4.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = "numpy pillow tensorrt (or tensorrt-rtx-cu13 for an .rtx.engine; JetPack brings tensorrt)"
# What build.sh makes; the manifest, which was written before, does not list it.
BUILT = ("model.engine", "model.rtx.engine")


def find_engine(device: Any, model: Path) -> Path:
    """The engine that build.sh made here of this very export, else one made without build.sh, of which nothing is
    known, else the one that the manifest lists.

    Raises Failure where there is none, and where all that are here were built before another export was copied over
    their own.
    """
    built = [path for path in (model.parent / name for name in BUILT) if path.is_file()]
    known = {path: _is_of(model.parent / "manifest.json", path) for path in built}
    for fits in (True, None):
        for path in built:
            if known[path] is fits:
                return path
    if model.suffix == ".engine":
        return model
    if built:
        names = " and ".join(path.name for path in built)
        raise device.Failure(f"{names}: built from another export than this bundle's. Run `sh build.sh` again", 4)
    raise device.Failure("this bundle holds no engine yet: run `sh build.sh` here, on the GPU that it is for", 4)


def _is_of(manifest: Path, engine: Path) -> bool | None:
    """Whether build.sh made that engine of that manifest's export; None where it did not write down of which."""
    made_from = engine.with_name(f"{engine.name}.from")
    if not made_from.is_file():
        return None
    return made_from.read_text().strip() == hashlib.sha256(manifest.read_bytes()).hexdigest()


def open_network(device: Any, settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's engine on the first GPU: see `Network` in device.py. `threads` says nothing there."""
    engine = device.load_sibling(settings, "engine.py")
    path = find_engine(device, settings.model)
    trt = importlib.import_module("tensorrt_rtx" if path.name.endswith(engine.RTX_SUFFIX) else "tensorrt")
    try:
        network = engine.Engine(path.read_bytes(), trt, engine.Gpu(), output=settings.kind)
    except engine.NoGpuError as error:
        raise device.Failure(f"{error}: an engine needs an NVIDIA GPU", 4) from error
    except engine.EngineError as error:
        raise device.Failure(f"{path.name}: {error}. Build it again here: sh build.sh") from error

    def infer(tensor: Any) -> Any:
        try:
            return network(tensor)
        except engine.EngineError as error:
            raise device.Failure(f"{path.name}: {error}") from error

    return infer
