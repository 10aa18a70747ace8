"""Edge deployment toolkit for tiny medical segmenters, built around ORDER (42K parameters)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lawder_edge.bundle.runner import Runner

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(bundle_path: str | Path, *, threads: int = 0) -> Runner:
    """Open a bundle for prediction: `load("order-onnx").predict(frame)`.

    bundle_path: a folder made by `lawder-edge export`. threads: of the runtime, 0 for its default. Returns: a Runner
    whose `predict` maps (H, W, 3) uint8 RGB to (H, W) float32 probability, at any H and W.

    Raises BadBundle for files that are not those of the manifest, Unavailable for a runtime that is not installed.
    """
    from pathlib import Path

    from lawder_edge.bundle.store import open_bundle
    from lawder_edge.targets.registry import load_runner

    return load_runner(open_bundle(Path(bundle_path)), threads=threads)
