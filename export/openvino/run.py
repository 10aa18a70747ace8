"""Segment images with this bundle, on a device that has Python, numpy, openvino, and Pillow or OpenCV.

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
    """The bundle's network in OpenVINO on the CPU."""
    import openvino

    # In float32 where it is not int8: processors with AMX take bfloat16 unasked, which moves the mask.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(settings.model)), "CPU", config)
    except RuntimeError as error:
        raise device.Failure(
            f"{settings.model.name}: OpenVINO {openvino.__version__} refuses it ({error}). Update openvino."
        ) from error
    return lambda tensor: compiled([tensor])[0]


if __name__ == "__main__":
    sys.exit(device.main(sys.argv[1:], folder=HERE, opener=open_network, packages="numpy openvino pillow"))
