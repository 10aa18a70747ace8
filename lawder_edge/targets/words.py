"""The command line's words for what a file gives and takes."""

from __future__ import annotations

from typing import Literal

from lawder_edge.bundle.manifest import InputType, OutputKind

Output = Literal["logits", "prob", "mask"]
Io = Literal["float", "uint8", "int8"]
OUTPUT_KINDS: dict[Output, OutputKind] = {"logits": "logits", "prob": "probabilities", "mask": "mask"}
INPUT_TYPES: dict[Io, InputType] = {"float": "float32", "uint8": "uint8", "int8": "int8"}


def option_of(what: OutputKind | InputType) -> str:
    """What a manifest names, as the option that asks for it: `--output prob`."""
    words: dict[str, str] = {kind: f"--output {word}" for word, kind in OUTPUT_KINDS.items()}
    words |= {dtype: f"--io {word}" for word, dtype in INPUT_TYPES.items()}
    return words[what]
