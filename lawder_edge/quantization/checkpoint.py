"""Quantised weights on disk: the parameters of the deploy form and the scales, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from lawder_edge.errors import BadCheckpoint
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.scales import Scales, TensorScale
from lawder_edge.training.checkpoint import fingerprint, load_into, read_tensors, write_tensors
from lawder_edge.training.record import WeightsRecord, read_header, read_record

QUANTIZED_FORMAT = "lawder-edge-quantized-1"


@dataclass(frozen=True)
class Quantized:
    """tensors: parameters of the deploy form, float32, not rounded. scales: of its activations."""

    tensors: dict[str, Tensor]
    scales: Scales
    record: WeightsRecord

    def sha256(self) -> str:
        """Fingerprint of weights and scales."""
        return hashlib.sha256(f"{fingerprint(self.tensors)}{self.scales}".encode()).hexdigest()

    def deployed(self) -> nn.Module:
        """The deploy form with these parameters, in floating point."""
        r = self.record
        module = to_deploy(create_model(r.model, in_channels=r.in_channels, num_classes=r.num_classes))
        load_into(module, self.tensors, source=f"quantised weights of {r.model}")
        return module


def write_quantized(path: Path, quantized: Quantized) -> None:
    """Replace the file as a whole."""
    header = {
        "format": QUANTIZED_FORMAT,
        "record": json.dumps(asdict(quantized.record), sort_keys=True),
        "scales": json.dumps(asdict(quantized.scales)),
    }
    write_tensors(path, quantized.tensors, header)


def is_quantized(path: Path) -> bool:
    """Whether a weights file says that it holds quantised weights. Reads its header alone. Raises: BadCheckpoint."""
    return read_header(path).get("format") == QUANTIZED_FORMAT


def read_quantized(path: Path) -> Quantized:
    """Raises: BadCheckpoint."""
    tensors, header = read_tensors(path)
    if header.get("format") != QUANTIZED_FORMAT:
        raise BadCheckpoint(
            f"{path}: format {header.get('format')!r}, wanted {QUANTIZED_FORMAT!r}: these weights are not quantised. "
            "Run `lawder-edge qat`."
        )
    record = read_record(path, header)
    try:
        values = json.loads(header["scales"])
        scales = Scales(int(values["weight_bits"]), tuple(TensorScale(**t) for t in values["tensors"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: its header does not say its scales ({error!r}). It was written by another version of "
            "lawder-edge, or changed since; quantise again."
        ) from error
    return Quantized(tensors, scales, record)
