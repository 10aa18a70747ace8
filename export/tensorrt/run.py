"""Segment images with this bundle on an NVIDIA GPU, with Python, numpy, TensorRT, and Pillow or OpenCV.

    sh build.sh                                     first, where the bundle holds no engine
    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad input, 3 the check failed, 4 the GPU, the engine or a
package is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# What build.sh makes; the manifest, which was written before, does not list it.
BUILT = ("model.engine", "model.rtx.engine")


def load_sibling(name: str) -> Any:
    """A file of this bundle as a module, whatever else of that name is installed."""
    path = HERE / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bundle_{name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"error: {path.name} is missing. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# A cache folder would be files that the manifest does not list.
sys.dont_write_bytecode = True
device = load_sibling("device")


def find_engine(model: Path) -> Path:
    """The engine that the manifest lists, or else the one that build.sh made. Raises Failure."""
    if model.suffix == ".engine":
        return model
    for name in BUILT:
        if (model.parent / name).is_file():
            return model.parent / name
    raise device.Failure("this bundle holds no engine yet: run `sh build.sh` here, on the GPU that it is for", 4)


def open_network(settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's engine on the first GPU; `threads` says nothing there."""
    engine = load_sibling("engine")
    path = find_engine(settings.model)
    trt = importlib.import_module("tensorrt_rtx" if path.name.endswith(engine.RTX_SUFFIX) else "tensorrt")
    try:
        network = engine.Engine(path.read_bytes(), trt, engine.Gpu())
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


if __name__ == "__main__":
    packages = "numpy pillow tensorrt (or tensorrt-rtx-cu13 for an .rtx.engine; JetPack brings tensorrt)"
    sys.exit(device.main(sys.argv[1:], folder=HERE, opener=open_network, packages=packages))
