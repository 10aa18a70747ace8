"""`lawder-edge data check`"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro


def check(
    folder: Annotated[Path, tyro.conf.Positional],
    split: tuple[Path, ...] = (),
    classes: int = 1,
    near_duplicates: bool = True,
    format: Literal["table", "json"] = "table",
) -> int:
    """Tell what is wrong with a folder of images and masks before training does.

    Example: lawder-edge data check polyps --split train.txt test.txt

    Exit code 2 if anything would stop a training.

    Args:
        folder: dataset folder (images/ + masks/, or another known layout), or a folder of such folders.
        split: split files to check against the folder and for leaks between each other.
        classes: 1 for foreground or not; more for masks that hold class indices.
        near_duplicates: look for images that are almost the same.
        format: of the report.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.data.check import check_folder

    with progress("reading") as report:
        found = check_folder(
            folder, num_classes=classes, splits=split, near_duplicates=near_duplicates, progress=report
        )
    if format == "json":
        print(json.dumps(dataclasses.asdict(found), default=str, indent=1))
    else:
        for dataset in found.datasets:
            sizes = ", ".join(f"{w}x{h}: {n}" for (h, w), n in dataset.sizes[:4])
            groups = f", {dataset.groups} sequences or patients" if dataset.groups else ""
            print(f"{dataset.name}: {dataset.images} images, {dataset.pairs} pairs{groups} (WxH {sizes})")
        for finding in found.findings:
            where = f"{finding.dataset}: " if finding.dataset else ""
            print(f"{finding.severity}: {where}{finding.message}")
        print(f"{found.severity}: {folder}")
    return 2 if found.severity == "error" else 0
