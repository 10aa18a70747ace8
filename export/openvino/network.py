"""Needs Python, numpy, openvino, and Pillow or OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PACKAGES = "numpy openvino pillow"


def open_network(device: Any, settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network in OpenVINO on the CPU: see `Network` in device.py."""
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
