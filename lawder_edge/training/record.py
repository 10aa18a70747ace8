"""What the header of a weights file says. Reads no tensor and imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lawder_edge.errors import BadCheckpoint
from lawder_edge.evaluation.overlap import TrainedOn

FORMAT = "lawder-edge-weights-1"
RUN_FORMAT = "lawder-edge-run-1"

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class SyntheticSource:
    """Synthetic pictures that weights were fitted to beside real ones.

    generator: sha256 of the weights that drew them. pictures: how many were trained on. files_sha256: over their files'
    hashes. per_pass: how many of all synthetic pictures each pass took, 0 for all. chosen: how they were chosen among
    those drawn, "" for all; drawn: how many those were, 0 where none was left out by a choice.
    """

    generator: str
    pictures: int
    files_sha256: str
    per_pass: int = 0
    chosen: str = ""
    drawn: int = 0


@dataclass(frozen=True)
class WeightsRecord:
    """What the header of a weights file says.

    model: a name for `create_model`, or `package.module:Class`. threshold: probability from which on a pixel is polyp,
    chosen on validation. size: side in pixels that it was chosen at. train_ids: the ids (`folder/stem`) that the
    weights were fitted to, those of synthetic pictures (`synthetic/GENERATOR/stem`) and what their generators were
    fitted to among them, train_groups: their sequences or patients; val_ids, val_groups: what they were chosen by; an
    evaluation marks overlaps with all four. unlisted: whether they were made from something else too, such as weights
    to start from, whose own lists are not recorded. synthetic: where the synthetic pictures came from. recipe: the
    training configuration as JSON. notes: one line for people.
    """

    model: str
    in_channels: int = 3
    num_classes: int = 1
    threshold: float = 0.5
    size: int = 256
    train_ids: tuple[str, ...] = ()
    train_groups: tuple[str, ...] = ()
    val_ids: tuple[str, ...] = ()
    val_groups: tuple[str, ...] = ()
    unlisted: bool = False
    synthetic: tuple[SyntheticSource, ...] = ()
    recipe: str = "{}"
    notes: str = ""

    def trained_on(self) -> TrainedOn | None:
        """The lists, for marking overlaps; None where none are recorded."""
        return TrainedOn.of(
            ids=self.train_ids,
            groups=self.train_groups,
            selection_ids=self.val_ids,
            selection_groups=self.val_groups,
            unlisted=self.unlisted,
        )

    def having_seen(self, earlier: WeightsRecord) -> WeightsRecord:
        """This record, its lists holding also what weights had seen that these were made from."""

        def both(before: tuple[Seen, ...], now: tuple[Seen, ...]) -> tuple[Seen, ...]:
            return tuple(dict.fromkeys((*before, *now)))

        return replace(
            self,
            train_ids=both(earlier.train_ids, self.train_ids),
            train_groups=both(earlier.train_groups, self.train_groups),
            val_ids=both(earlier.val_ids, self.val_ids),
            val_groups=both(earlier.val_groups, self.val_groups),
            unlisted=self.unlisted or earlier.unlisted or not earlier.train_ids,
            synthetic=both(earlier.synthetic, self.synthetic),
        )

    def check(self, *, source: str) -> None:
        """Raises: BadCheckpoint for values that no training writes."""
        if not 0 < self.threshold < 1:
            raise BadCheckpoint(f"{source}: threshold {self.threshold}; wanted a probability between 0 and 1.")
        if self.size <= 0 or self.size % 32:
            raise BadCheckpoint(f"{source}: size {self.size}; wanted a multiple of 32.")
        if self.in_channels not in (1, 3) or self.num_classes < 1:
            raise BadCheckpoint(f"{source}: {self.in_channels} channels and {self.num_classes} classes.")


def hash_ids(ids: Sequence[str]) -> str:
    """sha256 over the sorted ids, "" for none."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest() if ids else ""


def read_header(path: Path) -> dict[str, str]:
    """The header of a safetensors file. Raises: BadCheckpoint when the file is missing, damaged or no safetensors."""
    from safetensors import safe_open

    with checkpoint_errors(path), safe_open(str(path), framework="numpy") as f:
        return dict(f.metadata() or {})


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turns what safetensors raises on `path` into BadCheckpoint."""
    from safetensors import SafetensorError

    if not path.is_file():
        raise BadCheckpoint(f"{path}: no such file. Give a .safetensors checkpoint or a model name.")
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: not a complete safetensors file ({error}; {path.stat().st_size} bytes). Copy it again, or resume "
            "the run that wrote it."
        ) from error


def read_record(path: Path, header: dict[str, str]) -> WeightsRecord:
    """The record in the header of a weights file. Raises: BadCheckpoint naming `path`."""
    try:
        fields: dict[str, Any] = json.loads(header["record"])
        for key in ("train_ids", "train_groups", "val_ids", "val_groups"):
            fields[key] = tuple(fields.get(key, ()))
        fields["synthetic"] = tuple(SyntheticSource(**row) for row in fields.get("synthetic", ()))
        record = WeightsRecord(**fields)
        record.check(source=str(path))
        return record
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: its header does not say what these weights are ({error!r}). It was written by another version "
            "of lawder-edge, or changed since; copy it again or train anew."
        ) from error
