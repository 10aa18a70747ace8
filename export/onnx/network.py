"""Needs Python, numpy, onnxruntime, and Pillow or OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PACKAGES = "numpy onnxruntime pillow"


def open_network(device: Any, settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network in onnxruntime on the CPU: see `Network` in device.py."""
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
