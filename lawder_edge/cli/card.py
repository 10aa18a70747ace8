"""`lawder-edge card`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def card(
    model: Annotated[Path, tyro.conf.arg(aliases=["-m"])],
    bench: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Write a bundle's model card: the file, its masks by the certificate, its cost by a benchmark, its weights.

    Example: lawder-edge card --model order-onnx --bench bench.json --out CARD.md

    Args:
        model: bundle folder.
        bench: JSON of lawder-edge bench, for the rows that measured this very file.
        out: file for the card; stdout when left out.
        overwrite: replace the --out file.
    """
    from lawder_edge.bench.card import model_card
    from lawder_edge.bench.compare import SAVED, read_saved
    from lawder_edge.bundle.store import open_bundle, read_certificate
    from lawder_edge.files import make_way, read_given, write_file

    if out is not None:
        make_way(out, overwrite=overwrite)
    bundle = open_bundle(model)
    benchmark = None if bench is None else read_saved(read_given(bench, wanted=SAVED), source=str(bench))
    about = bundle.path / "MODEL_CARD.md"
    text = model_card(
        bundle.manifest,
        read_certificate(bundle),
        benchmark=benchmark,
        about=about.read_text() if about.is_file() else "",
    )
    if out is None:
        print(text, end="")
        return 0
    write_file(out, text.encode())
    print(f"{out}: written", file=sys.stderr)
    return 0
