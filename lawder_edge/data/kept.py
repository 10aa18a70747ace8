"""Which pictures of a folder of `synth sample` are kept to train on: a list beside the manifest. Reads and writes
disk.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.errors import BadDataset
from lawder_edge.files import write_file

KEPT = "kept.json"
FORMAT = "lawder-edge-kept-1"


@dataclass(frozen=True)
class KeptRow:
    """One picture of the folder, kept or not.

    name: of its file in images/ and in masks/. dice: between the mask asked for and what the judge finds, in [0, 1];
    None without a judge. distance: 1 - cosine of features to the nearest training picture, in [0, 2]. memorised:
    whether that is nearer than held-out pictures come.
    """

    name: str
    kept: bool
    dice: float | None
    distance: float
    memorised: bool


@dataclass(frozen=True)
class KeptList:
    """What stands in `kept.json`.

    drawn_sha256: over the hashes of all files that were chosen among (`hash_files`); those of another drawing are not
    chosen by it. rule: by what, in words that the weights trained on them keep. pictures: all, in the manifest's order.
    """

    drawn_sha256: str
    rule: str
    pictures: tuple[KeptRow, ...]

    @property
    def names(self) -> frozenset[str]:
        """Of the kept ones."""
        return frozenset(row.name for row in self.pictures if row.kept)


def write_kept(folder: Path, kept: KeptList) -> Path:
    """Replace the list as a whole. Returns: its file."""
    said = {"format": FORMAT, **dataclasses.asdict(kept)}
    write_file(folder / KEPT, json.dumps(said, indent=1, sort_keys=True).encode() + b"\n")
    return folder / KEPT


def read_kept(folder: Path) -> KeptList | None:
    """The list of a folder; None where there is none, which means all.

    Raises: BadDataset for one that does not read.
    """
    path = folder / KEPT
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']!r}")
        rows = tuple(KeptRow(**row) for row in fields["pictures"])
        return KeptList(str(fields["drawn_sha256"]), str(fields["rule"]), rows)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadDataset(
            f"{path}: not the list of kept pictures that `lawder-edge synth score --keep` writes ({error!r}). Choose "
            "again with --overwrite, or remove the file to train on all pictures."
        ) from error
