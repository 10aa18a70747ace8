"""The manifest: everything that a device needs besides weights, written once, read by all."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from lawder_edge.bundle.processing import INPUT_RANGE, RESIZE_RULE, RESIZE_VERSION
from lawder_edge.codec import decode, encode
from lawder_edge.errors import BadBundle
from lawder_edge.versions import Tool

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 2
_SHA256 = re.compile(r"[0-9a-f]{64}")

# Of a model file's own input and output, and what that output means.
InputType = Literal["float32", "uint8", "int8"]
OutputType = Literal["float32", "int8", "uint8"]
OutputKind = Literal["logits", "probabilities", "mask"]


@dataclass(frozen=True)
class WeightsInfo:
    """Where weights come from.

    model: name for `create_model`. config_json: the training configuration as JSON text. sha256: fingerprint of the
    tensors. splits: names of the lists trained on. train_ids_sha256: hash over the sorted ids of the training images,
    "" where they are unknown. threshold: probability from which a pixel is foreground, chosen on validation.
    """

    model: str
    config_json: str
    sha256: str
    splits: tuple[str, ...]
    train_ids_sha256: str
    threshold: float


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle. name: path inside it, with forward slashes."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class InputSpec:
    """What the network takes: (batch, channels, height, width) or (batch, height, width, channels).

    dynamic: height and width are free, in multiples of `multiple_of`, of which the file takes those from the first of
    `sides` to the second, or all where that is None; height and width here are then those that prediction uses. range:
    how a sample of 0..255 becomes the network's number. dtype: how the file takes it, as `processing.to_input` gives
    it: float32 numbers of that range, uint8 samples as they are, int8 samples XOR 0x80. resize_rule, resize_version:
    how a frame becomes height x width, as in processing.py.
    """

    height: int
    width: int
    dynamic: bool
    dynamic_batch: bool
    multiple_of: int
    channels: int
    layout: Literal["NCHW", "NHWC"]
    dtype: InputType = "float32"
    sides: tuple[int, int] | None = None
    range: str = INPUT_RANGE
    resize_rule: str = RESIZE_RULE
    resize_version: int = RESIZE_VERSION


@dataclass(frozen=True)
class OutputSpec:
    """What the network gives. One class: the foreground; several: class 0 is the background.

    kind: logits or probabilities, a channel a class, or a mask: one channel of class numbers, by the manifest's
    threshold or the most probable class. dtype: how the file gives it; int8 is at the file's own scale, a mask uint8.
    """

    kind: OutputKind
    classes: int
    dtype: OutputType = "float32"


@dataclass(frozen=True)
class Quantization:
    """Integer types of weights and activations, and how the target rounds between them."""

    weights: str
    activations: str
    rounding: str


@dataclass(frozen=True)
class Manifest:
    """A bundle's one file of truth. Holds neither times nor machine paths: the same input gives the same manifest.

    threshold: probability from which a pixel is foreground; may differ from `weights.threshold`, which validation
    chose. quantization: None for floating point.
    """

    schema_version: int
    name: str
    model: str
    target: str
    precision: str
    model_file: str
    files: tuple[FileEntry, ...]
    input: InputSpec
    output: OutputSpec
    threshold: float
    quantization: Quantization | None
    weights: WeightsInfo
    tools: tuple[Tool, ...]

    def __post_init__(self) -> None:
        """Raises BadBundle naming the key whose value cannot stand."""
        for key, good, wanted in self._rules():
            if not good:
                raise BadBundle(f"{MANIFEST_NAME}: key {key!r} must be {wanted}. Export the bundle again.")

    def _rules(self) -> list[tuple[str, bool, str]]:
        i, o = self.input, self.output
        names = [f.name for f in self.files]
        rules = [
            ("threshold", 0 < self.threshold < 1, f"between 0 and 1, got {self.threshold}"),
            ("input.multiple_of", i.multiple_of >= 1, f"at least 1, got {i.multiple_of}"),
            ("input.channels", i.channels in (1, 3), f"1 or 3, got {i.channels}"),
            ("input.range", i.range == INPUT_RANGE, f"{INPUT_RANGE!r}, got {i.range!r}"),
            (
                "input.resize_version",
                (i.resize_rule, i.resize_version) == (RESIZE_RULE, RESIZE_VERSION),
                f"{RESIZE_VERSION} of {RESIZE_RULE!r}, got {i.resize_version} of {i.resize_rule!r}",
            ),
            ("output.classes", 1 <= o.classes <= 256, f"1 to 256, got {o.classes}"),
            (
                "output.dtype",
                (o.kind == "mask") == (o.dtype == "uint8"),
                f"uint8 for masks and nothing else, got {o.dtype} for {o.kind}",
            ),
            ("model_file", self.model_file in names, f"one of files, got {self.model_file!r}"),
            ("files", len(set(names)) == len(names), "without a name twice"),
            ("weights.config_json", _is_json(self.weights.config_json), "JSON text"),
        ]
        for key, value in (("height", i.height), ("width", i.width)):
            good = value >= 1 and value % max(i.multiple_of, 1) == 0
            rules.append((f"input.{key}", good, f"a positive multiple of {i.multiple_of}, got {value}"))
            if i.sides is not None:
                low, high = i.sides
                rules.append((f"input.{key}", low <= value <= high, f"of {low} to {high} by input.sides, got {value}"))
        for n, file in enumerate(self.files):
            path = PurePosixPath(file.name)
            inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in file.name
            rules.append(
                (f"files[{n}].name", inside and str(path) == file.name, f"a path inside the bundle, got {file.name!r}")
            )
            rules.append((f"files[{n}].sha256", bool(_SHA256.fullmatch(file.sha256)), "64 hexadecimal digits"))
        return rules

    @property
    def model_entry(self) -> FileEntry:
        """The entry of the model file itself."""
        return next(f for f in self.files if f.name == self.model_file)

    def to_json(self) -> str:
        """JSON text, the same for the same manifest."""
        return encode(self)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = MANIFEST_NAME) -> Manifest:
        """Raises BadBundle naming the key that is missing, unknown, or holds what cannot stand."""
        try:
            version = json.loads(text)["schema_version"]
        except (ValueError, KeyError, TypeError):
            version = SCHEMA_VERSION  # not a manifest at all: decode says what is wrong
        if version != SCHEMA_VERSION:
            raise BadBundle(
                f"{source}: key 'schema_version' is {version!r}, this version of lawder-edge reads {SCHEMA_VERSION}. "
                "Export the bundle again with this version, or install the version that wrote it."
            )
        return decode(cls, text, source=source)


def portable_config(text: str) -> str:
    """A configuration's JSON text without machine paths: an absolute path is cut to its last part, keys are sorted.

    Raises BadBundle for text that is not JSON.
    """

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cut(item) for key, item in value.items()}
        if isinstance(value, list):
            return [cut(item) for item in value]
        if isinstance(value, str):
            for kind in (PurePosixPath, PureWindowsPath):
                if kind(value).is_absolute():
                    return kind(value).name
        return value

    if not _is_json(text):
        raise BadBundle(f"key 'weights.config_json' must be JSON text, got {text[:60]!r}. Save the checkpoint again.")
    return json.dumps(cut(json.loads(text)), sort_keys=True)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
