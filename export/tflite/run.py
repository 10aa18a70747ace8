"""Segment images with this bundle, on a device that has Python, numpy, LiteRT, and Pillow or OpenCV.

    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

LiteRT is ai-edge-litert or, on older systems, tflite-runtime from 2.14 on.
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


def load_runtime() -> Any:
    """The module that holds Interpreter and OpResolverType."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "ai_edge_litert":
            raise  # numpy, say
        try:
            from tflite_runtime import interpreter
        except ImportError:
            raise error from None
    return interpreter


def open_network(settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network in LiteRT: (1, C, h, w) float32 to (1, classes, h, w) float32 logits."""
    import numpy as np

    runtime = load_runtime()
    resolvers = runtime.OpResolverType
    # XNNPACK, the default, refuses some legal scales; LiteRT's own kernels take them all.
    for resolver in (resolvers.AUTO, resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        try:
            network = runtime.Interpreter(
                model_path=str(settings.model), num_threads=threads or None, experimental_op_resolver_type=resolver
            )
            network.allocate_tensors()
            break
        except (RuntimeError, ValueError) as error:
            refused = error
    else:
        raise device.Failure(
            f"{settings.model.name}: {runtime.__name__} refuses it ({refused}). Update ai-edge-litert."
        ) from refused
    given, got = network.get_input_details()[0], network.get_output_details()[0]

    def run(tensor: Any) -> Any:
        x = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
        if given["dtype"] == np.int8:
            scale, zero_point = given["quantization"]
            x = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        network.set_tensor(given["index"], x)
        network.invoke()
        y = network.get_tensor(got["index"])
        if got["dtype"] == np.int8:
            scale, zero_point = got["quantization"]
            y = np.float32(scale) * (y.astype(np.float32) - zero_point)
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2))

    return run


if __name__ == "__main__":
    sys.exit(device.main(sys.argv[1:], folder=HERE, opener=open_network, packages="numpy ai-edge-litert pillow"))
