"""`lawder-edge verify`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lawder_edge.errors import BadInput, Unavailable


def verify(
    bundle: Annotated[Path, tyro.conf.Positional],
    all: bool = False,
    full: bool = False,
    strict: bool = False,
    layers: bool = False,
    model: Annotated[str | None, tyro.conf.arg(aliases=["-m"])] = None,
    data: Path | None = None,
    split: tuple[Path, ...] = (),
    limit: int = 0,
    skip_bad: bool = False,
    threads: int = 0,
    format: Literal["table", "json"] = "table",
) -> int:
    """Compare a bundle with PyTorch again, on images of your own, and renew its certificate.

    Example: lawder-edge verify order-onnx --data polyps --split test.txt

    Exit code 3 if it gives other masks than PyTorch: the bundle is then renamed to NAME.rejected. Exit code 4 if its
    runtime is not here: an earlier certificate then stays. One of real images stays too where none are given.

    With --all: every bundle of a folder, PyTorch and the integer reference on the same images, each against PyTorch
    with its own weights and the int8 ones of one network against each other, on hostile frames too; certificates stay
    as they are. Exit code 3 where one is rejected, 1 where one failed or had no PyTorch to be compared with.
    Example: lawder-edge verify build/order --all --data polyps --split test.txt

    With --layers: of an int8 bundle, each tensor's difference from PyTorch's int8, in the order of computation; the
    certificate stays as it is. Example: lawder-edge verify order-onnx --layers --data polyps --split test.txt

    Args:
        bundle: bundle folder; with --all a folder of them.
        all: compare all bundles in the folder.
        full: with --all: on all images rather than 16.
        strict: with --all: exit code 3 also where two int8 runtimes draw other masks than the limits allow.
        layers: show where a difference starts, tensor by tensor.
        model: model name or checkpoint that it was exported from; the package's weights when left out, with --all also
            for bundles of other weights than those.
        data: folder of images with masks; phantom frames when left out.
        split: files with one folder/stem a line.
        limit: the most images, evenly picked; 0 for all, or with --all for 16, with --layers for 4.
        skip_bad: leave out images that cannot be read, and count them.
        threads: of the runtime; 0 leaves the choice to it.
        format: of the certificate on stdout.
    """
    if layers:
        from lawder_edge.cli.verify_layers import verify_layers

        if all:
            raise BadInput("--layers looks into one bundle, --all compares several. Leave one of them out.")
        return verify_layers(
            bundle, model=model, data=data, split=split, limit=limit, skip_bad=skip_bad, threads=threads, format=format
        )
    pairs = (("--skip-bad", skip_bad), ("--threads", threads)) if all else (("--full", full), ("--strict", strict))
    unread = [name for name, given in pairs if given]
    if unread:
        raise BadInput(f"{', '.join(unread)}: not read {'with' if all else 'without'} --all. Leave that out.")
    if all:
        from lawder_edge.cli.verify_all import verify_all

        return verify_all(
            bundle, model=model, data=data, split=split, limit=limit, full=full, strict=strict, format=format
        )
    from lawder_edge.bundle.store import has_certificate, open_bundle, read_certificate, reject
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.reading import ReadingNotes
    from lawder_edge.exporting.images import images_of
    from lawder_edge.exporting.outcome import outcome_of, source_model
    from lawder_edge.exporting.verify import verify_bundle

    opened = open_bundle(bundle)
    loaded = source_model(opened, model)
    notes = ReadingNotes()
    images = images_of(
        data, split, limit=limit, classes=loaded.record.num_classes,
        on_bad=notes.left_out if skip_bad else None, on_note=notes.interpreted,
    )  # fmt: skip
    certified_before = has_certificate(opened)
    with progress("verifying") as report:
        certificate = verify_bundle(
            opened, loaded.reference(opened.manifest.precision), images, threads=threads, progress=report
        )
    notes.finish(images.count)
    if format == "json":
        print(json.dumps(asdict(certificate), indent=1))
    else:
        row = outcome_of(opened, certificate)
        print(f"{row.status}: {bundle} ({row.target} {row.precision}, {row.sha256[:8]}) on {row.source}")
        if row.dice_drop is not None:
            print(f"Dice drop {row.dice_drop:+.5f} [95 % {row.dice_drop_low:+.5f}, {row.dice_drop_high:+.5f}]")
        for gate in certificate.gates:
            print(f"{'pass' if gate.passed else 'FAIL'}: {gate.name} {gate.value:.3g}, {gate.rule} {gate.limit:g}")
        if row.reason:
            print(row.reason)
    if certificate.status == "rejected":
        raise reject(opened, certificate)
    if certificate.status == "unverified-here":
        fate = "its earlier certificate stays as it is" if certified_before else "its certificate says so"
        raise Unavailable(f"{bundle}: nothing could be measured here; {fate}. {certificate.reason}")
    kept = read_certificate(opened)
    if kept is not None and kept != certificate:
        print(f"{bundle}: its certificate of {kept.source} stays. Give --data to renew it.", file=sys.stderr)
    else:
        print(f"{bundle}: certificate renewed", file=sys.stderr)
    return 0
