"""Needs Python, numpy, a C compiler, and Pillow or OpenCV.

A device without Python: see main.c and Makefile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PACKAGES = "numpy pillow"


def open_network(device: Any, settings: Any, threads: int) -> Callable[[Any], Any]:
    """The bundle's network, compiled here, on one core: see `Network` in device.py."""
    host = device.load_sibling(settings, "host.py")
    try:
        network = host.Network(settings.model, settings.files)
    except host.NoCompilerError as error:
        raise device.Failure(str(error), 4) from error
    except host.NetworkError as error:
        raise device.Failure(f"{error}. Copy the bundle again, or name another compiler in CC.") from error
    infer: Callable[[Any], Any] = network.infer
    return infer
