"""What tells a synthetic picture from a patient's: marks in the files, and the manifest beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lawder_edge.errors import BadInput
from lawder_edge.files import write_file

MANIFEST = "manifest.json"
FORMAT = "lawder-edge-synthetic-1"
NOTICE = "Synthetic image made by lawder-edge. It shows no patient and is no basis for a diagnosis."
# How image software recognises generated pictures: IPTC's digital source type, in an XMP packet.
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    "</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)
_KEY = "lawder-edge"


@dataclass(frozen=True)
class Made:
    """How one picture was made. seed: of its noise. mask: what its mask was made from. generator: sha256 of weights."""

    seed: int
    mask: str
    generator: str


@dataclass(frozen=True)
class ManifestRow:
    """One picture of the folder. name: of the file in images/ and in masks/."""

    name: str
    seed: int
    mask: str
    image_sha256: str
    mask_sha256: str


@dataclass(frozen=True)
class Request:
    """All that decides which pictures a folder receives, but their number. JSON values.

    generator: sha256 of its weights. masks: kind of source. masks_sha256: of what it draws from. precision: fp32 in
    manifests of before it was told.
    """

    generator: str
    size: int
    seed: int
    sampler: str
    steps: int
    guidance: float
    masks: str
    masks_sha256: str
    precision: str = "fp32"


@dataclass(frozen=True)
class Origin:
    """What the generator is, to those who train on its pictures.

    in_channels: 3 (RGB) or 1 (grey). num_classes: 1 is lesion or not. train_ids, train_groups: the real pictures
    (`folder/stem`) that it was fitted to, and their sequences or patients; they are in what is trained on its pictures.
    """

    in_channels: int
    num_classes: int
    train_ids: tuple[str, ...]
    train_groups: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What stands in `manifest.json`. complete: all `n` pictures are there and listed in `images`.

    about: arm and steps of the generator, and versions of the tools. origin: None in manifests of before it was told.
    """

    request: Request
    n: int
    complete: bool
    about: dict[str, Any]
    images: tuple[ManifestRow, ...] = ()
    origin: Origin | None = None


def hash_files(rows: Sequence[ManifestRow]) -> str:
    """sha256 over the hashes of these pictures and masks, in their order."""
    lines = [f"{row.image_sha256} {row.mask_sha256}" for row in rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def marked_png(pixels: NDArray[np.uint8], made: Made) -> bytes:
    """PNG bytes that say that the picture is synthetic. pixels: (H, W) or (H, W, C) uint8, C 1 or 3, RGB."""
    info = PngInfo()
    info.add_text("Description", NOTICE)
    info.add_text("Synthetic", "true")
    info.add_text("Software", "lawder-edge")
    info.add_text(_KEY, json.dumps(dataclasses.asdict(made), sort_keys=True))
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    shown = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def read_mark(path: Path) -> Made | None:
    """The mark of a PNG file; None for a picture that carries none, and for one that does not read."""
    try:
        with Image.open(path) as picture:
            picture.load()
            text = getattr(picture, "text", {}).get(_KEY)
    except OSError:
        return None
    try:
        return None if text is None else Made(**json.loads(text))
    except (TypeError, ValueError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest as a whole."""
    said = {"format": FORMAT, "synthetic": True, "notice": NOTICE, **dataclasses.asdict(manifest)}
    write_file(folder / MANIFEST, json.dumps(said, indent=1, sort_keys=True).encode() + b"\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where there is none. Raises: BadInput for one that does not read."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']!r}")
        rows = tuple(ManifestRow(**row) for row in fields["images"])
        origin = None if fields.get("origin") is None else _origin(fields["origin"])
        return Manifest(Request(**fields["request"]), fields["n"], fields["complete"], fields["about"], rows, origin)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path}: not the manifest of synthetic pictures ({error}). Copy the folder again, or draw its pictures "
            "anew into another --out."
        ) from error


def _origin(fields: dict[str, Any]) -> Origin:
    return Origin(**{**fields, **{name: tuple(fields[name]) for name in ("train_ids", "train_groups")}})
