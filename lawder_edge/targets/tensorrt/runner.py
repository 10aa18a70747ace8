"""A TensorRT engine as a Runner."""

from __future__ import annotations

from collections.abc import Callable

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import ManifestRunner, check_tensor
from lawder_edge.errors import BadBundle, BadInput
from lawder_edge.runners.tensorrt.engine import EngineError, WrongSizeError


class TensorRtRunner(ManifestRunner):
    """An engine between the manifest's pre- and post-processing.

    network: an `Engine`, (B, C, h, w) -> (B, classes, h, w) float32.
    """

    def __init__(self, manifest: Manifest, network: Callable[[Float], Float]) -> None:
        super().__init__(manifest)
        self._network = network

    def infer(self, tensor: Float) -> Float:
        check_tensor(tensor, self._spec)
        try:
            return self._network(tensor)
        except WrongSizeError as error:
            raise BadInput(f"{self._name}: {error}. Export with another --profile.") from error
        except EngineError as error:
            raise BadBundle(
                f"{self._name}: {error}. Export it again, or run build.sh in the bundle, for its run.py."
            ) from error
