"""Needs Python, numpy, LiteRT, and Pillow or OpenCV.

LiteRT is ai-edge-litert or, on older systems, tflite-runtime from 2.14 on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PACKAGES = "numpy ai-edge-litert pillow"


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


def open_network(device: Any, settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network in LiteRT on the CPU: see `Network` in device.py."""
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
        network.set_tensor(given["index"], np.ascontiguousarray(tensor.transpose(0, 2, 3, 1)))
        network.invoke()
        y = network.get_tensor(got["index"])
        if got["dtype"] == np.int8:
            scale, zero_point = got["quantization"]
            y = np.float32(scale) * (y.astype(np.float32) - zero_point)
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2))

    return run
