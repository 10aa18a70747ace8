"""Segment images with this bundle, on a device that has Python, numpy, onnxruntime, and Pillow or OpenCV.

    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad input, 3 the check failed, 4 a package is missing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load_device() -> Any:
    """device.py of this bundle, whatever else of that name is installed."""
    spec = importlib.util.spec_from_file_location("bundle_device", HERE / "device.py")
    if spec is None or spec.loader is None or not (HERE / "device.py").is_file():
        sys.exit("error: device.py is missing. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bundle_device"] = module
    spec.loader.exec_module(module)
    return module


# A cache folder would be files that the manifest does not list.
sys.dont_write_bytecode = True
device = load_device()


def open_network(settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(settings.model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's error classes share no other base
        raise device.Failure(
            f"{settings.model.name}: onnxruntime {onnxruntime.__version__} refuses it ({error}). Update onnxruntime."
        ) from error
    name = session.get_inputs()[0].name
    return lambda tensor: session.run(None, {name: tensor})[0]


if __name__ == "__main__":
    sys.exit(device.main(sys.argv[1:], folder=HERE, opener=open_network, packages="numpy onnxruntime pillow"))
