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
    """The engine that build.sh made here, or else the one that the manifest lists.

    Raises Failure where there is none, and for one that was built before another export was copied over its own.
    """
    for name in BUILT:
        engine, made_from = model.parent / name, model.parent / f"{name}.from"
        if not engine.is_file():
            continue
        manifest = model.parent / "manifest.json"
        if made_from.is_file() and made_from.read_text().strip() != hashlib.sha256(manifest.read_bytes()).hexdigest():
            raise device.Failure(f"{name} was built from another export than this bundle's: run `sh build.sh` again", 4)
        return engine
    if model.suffix == ".engine":
        return model
    raise device.Failure("this bundle holds no engine yet: run `sh build.sh` here, on the GPU that it is for", 4)


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
