"""A compiled network as a Runner."""

from __future__ import annotations

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.processing import Float
from lawder_edge.bundle.runner import ManifestRunner, check_tensor
from lawder_edge.runners.c.host import Network


class CRunner(ManifestRunner):
    """The network's logits between the manifest's pre- and post-processing. network: compiled."""

    def __init__(self, manifest: Manifest, network: Network) -> None:
        super().__init__(manifest)
        self.network = network
        self.arena_bytes = network.arena_bytes

    def infer(self, tensor: Float) -> Float:
        """By the C function `lw_NAME_logits`: the int8 logits before probabilities become bytes, times their scale."""
        check_tensor(tensor, self._spec)
        return self.network.infer(tensor)
