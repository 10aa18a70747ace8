"""`lawder-edge verify --layers`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lawder_edge.exporting.layers import Difference, Layer, Layers

DEFAULT_IMAGES = 4


def verify_layers(
    path: Path,
    *,
    model: str | None,
    data: Path | None,
    split: tuple[Path, ...],
    limit: int,
    skip_bad: bool,
    threads: int,
    format: str,
) -> int:
    """The table of a bundle's quantised tensors. Returns: the exit code, 0: it shows and does not judge."""
    from lawder_edge.bundle.store import open_bundle
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.reading import ReadingNotes
    from lawder_edge.errors import BadInput
    from lawder_edge.exporting.images import images_of
    from lawder_edge.exporting.layers import check_int8, compare_layers
    from lawder_edge.exporting.outcome import source_model

    bundle = open_bundle(path)
    check_int8(bundle)
    loaded = source_model(bundle, model)
    if loaded.quantized is None:
        named = model or bundle.manifest.model
        raise BadInput(f"{named}: these weights are not quantised, so there is no int8 in PyTorch to compare with.")
    notes = ReadingNotes()
    images = images_of(
        data, split, limit=limit or DEFAULT_IMAGES, classes=loaded.record.num_classes,
        on_bad=notes.left_out if skip_bad else None, on_note=notes.interpreted,
    )  # fmt: skip
    with progress("comparing") as report:
        found = compare_layers(bundle, loaded.quantized, images, threads=threads, progress=report)
    notes.finish(images.count)
    if format == "json":
        print(json.dumps(asdict(found), indent=1))
    else:
        _print(found)
    return 0


def _print(found: Layers) -> None:
    from lawder_edge.cli.tables import print_table
    from lawder_edge.exporting.layers import STARTS_AT

    print(
        f"on {found.source}, in int8 steps; moved: PyTorch's int8 from activations that are not rounded (weights are)"
    )
    header = ["tensor", "module", "operator", "shape", "moved"]
    for runtime in found.runtimes:
        header += [f"{runtime.name} differ", "mean", "max"]
    rows = [_cells(n, layer) for n, layer in enumerate(found.layers)]
    print_table(header, rows, right=(0, *range(4, len(header))))
    if any(None in layer.differences for layer in found.layers):
        print("-: not watched; the runtime does not hold it, or holds it once with the row before, as a reshaped one")
    print()
    for runtime in found.runtimes:
        if runtime.first is None:
            print(
                f"{runtime.name}: no tensor where more than {STARTS_AT:.1%} of the elements differ from PyTorch's int8"
            )
        else:
            tensor = found.layers[runtime.first].tensor
            print(
                f"{runtime.name}: more than {STARTS_AT:.1%} of the elements differ first at tensor {runtime.first}, "
                f"{tensor.operator} in {tensor.module or 'the network itself'}"
            )
    for runtime in found.runtimes:
        print(runtime.remark)


def _cells(n: int, layer: Layer) -> list[str]:
    tensor = layer.tensor
    cells = [str(n), tensor.module or "-", tensor.operator, "x".join(map(str, tensor.shape)), f"{layer.moved:.2f}"]
    for difference in layer.differences:
        cells += _difference(difference)
    return cells


def _difference(difference: Difference | None) -> tuple[str, str, str]:
    if difference is None:
        return ("-", "-", "-")
    return (f"{difference.share:.3%}", f"{difference.mean:.4f}", str(difference.largest))
