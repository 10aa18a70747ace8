"""What only PyTorch can tell, for `lawder-edge doctor`: `python -m lawder_edge.doctor.probe` prints a Probe."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from lawder_edge.errors import LawderError


@dataclass(frozen=True)
class WeightsState:
    """Weights that the package carries. sha256: fingerprint of the tensors, "" with the problem that hides it."""

    name: str
    sha256: str
    problem: str


@dataclass(frozen=True)
class Probe:
    """accelerators: a text each. weights: all that the package carries. problem: why there is no answer, else ""."""

    accelerators: tuple[str, ...]
    weights: tuple[WeightsState, ...]
    problem: str = ""


def accelerators() -> tuple[str, ...]:
    """What PyTorch can use beside the CPU."""
    import torch

    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(index)
            found.append(f"cuda:{index} {p.name}, {p.total_memory / 1e9:.0f} GB, compute {p.major}.{p.minor}")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def weights() -> tuple[WeightsState, ...]:
    """Load every file of weights in the package."""
    from lawder_edge.weights import BUNDLED, load_model

    found = []
    for path in sorted(BUNDLED.glob("*.safetensors")):
        try:
            found.append(WeightsState(path.stem, load_model(str(path)).sha256, ""))
        except LawderError as error:
            found.append(WeightsState(path.stem, "", str(error)))
    return tuple(found)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(Probe(accelerators(), weights()))))
