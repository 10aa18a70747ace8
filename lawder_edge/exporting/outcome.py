"""What became of an export, in a form that crosses processes and fills a table."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lawder_edge.bundle.certificate import Certificate
from lawder_edge.bundle.store import Bundle, check_free, read_certificate
from lawder_edge.errors import BadBundle, BadInput
from lawder_edge.exporting.request import ExportRequest
from lawder_edge.targets.registry import ExportSpec, get_target

if TYPE_CHECKING:
    from lawder_edge.training.record import WeightsRecord
    from lawder_edge.weights import LoadedModel


class OtherWeights(BadInput):
    """Weights, named or carried, that are not those a bundle was exported from."""


@dataclass(frozen=True)
class ExportOutcome:
    """One target. status: of the certificate, `failed` where there is none, or `left-out` where nothing was tried;
    reason: why, where it is not certified. remarks: what the target said of it, a sentence each.

    mask_dice_*: between artifact and PyTorch, mean and worst image. dice_drop: PyTorch less artifact. logit_difference:
    the largest at any size, of probabilities where the artifact gives those, None for masks. Numbers are None where
    nothing was compared. exit_code: what this alone would return.
    """

    target: str
    precision: str
    status: Literal["certified", "unverified-here", "rejected", "failed", "left-out"]
    bundle: str = ""
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    source: str = ""
    images: int = 0
    mask_dice_mean: float | None = None
    mask_dice_worst: float | None = None
    dice_drop: float | None = None
    dice_drop_low: float | None = None
    dice_drop_high: float | None = None
    logit_difference: float | None = None
    reason: str = ""
    remarks: tuple[str, ...] = ()
    exit_code: int = 0


def outcome_of(bundle: Bundle, certificate: Certificate) -> ExportOutcome:
    """The bundle and its certificate as one row.

    A bundle without the target's own file is a kit to make it elsewhere: what makes it is not available here.
    """
    entry = bundle.manifest.model_entry
    target = get_target(bundle.manifest.target)
    is_kit = not entry.name.endswith(target.suffix)
    row = ExportOutcome(
        target=bundle.manifest.target,
        precision=bundle.manifest.precision,
        status=certificate.status,
        bundle=str(bundle.path),
        file=entry.name,
        size_bytes=target.size_bytes(bundle.manifest),
        sha256=entry.sha256,
        source=certificate.source,
        images=len(certificate.images),
        reason=certificate.reason,
        exit_code=3 if certificate.status == "rejected" else 4 if is_kit else 0,
    )
    if certificate.agreement is None:
        return row
    found = certificate.agreement
    return ExportOutcome(
        **{
            **asdict(row),
            "mask_dice_mean": found.mask_dice.mean,
            "mask_dice_worst": found.mask_dice.worst,
            "dice_drop": found.dice_drop.mean,
            "dice_drop_low": found.dice_drop.low,
            "dice_drop_high": found.dice_drop.high,
            "logit_difference": max(
                (d.largest for d in found.logit_differences if d.largest is not None), default=None
            ),
        }
    )


def export_verified(
    target: str,
    request: ExportRequest,
    *,
    out: Path,
    progress: Callable[[int, int, str], None] | None = None,
    on_bad: Callable[[str, str], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    shared_folder: Path | None = None,
) -> ExportOutcome:
    """Load the weights, export, compare with PyTorch, and put the bundle in its place.

    shared_folder: of `Shared`, with other exports of the same command. on_bad: told of images that cannot be read where
    the request leaves them out. on_note: told what had to be interpreted in their masks.

    Raises GateFailed where the artifact gives other masks (it is left as OUT.rejected), and what the steps raise.
    """
    from lawder_edge.exporting.export import export_bundle
    from lawder_edge.exporting.images import images_of
    from lawder_edge.exporting.shared import Shared
    from lawder_edge.exporting.verify import measure
    from lawder_edge.weights import bundled_card, load_model

    record = get_target(target)
    record.limits(request.precision)
    spec = ExportSpec(
        size=request.size,
        dynamic_batch=request.dynamic_batch,
        precision=request.precision,
        opset=request.opset,
        engine=request.engine,
        output=request.kind,
        input_type=request.input_type,
        ram_bytes=request.ram_bytes,
    )
    check_free(out, overwrite=request.overwrite)
    loaded = load_model(request.model, int8=request.precision == "int8")
    weights = loaded.record
    reference = loaded.reference(request.precision)
    quantised = "int8" if request.precision == "int8" else "float"
    shared = Shared(shared_folder, network=f"{weights.model} {quantised} {loaded.sha256}")
    images = images_of(
        request.data,
        request.split,
        limit=request.limit,
        classes=weights.num_classes,
        on_bad=(on_bad or (lambda name, reason: None)) if request.skip_bad else None,
        on_note=on_note,
    )
    remarks = [said] if (said := smaller_than_learnt(request.size, weights)) else []
    bundle = export_bundle(
        reference,
        target=target,
        spec=replace(spec, channels=weights.in_channels, classes=weights.num_classes),
        weights_info=loaded.info(),
        out=out,
        threshold=request.threshold,
        predict_size=(weights.size, weights.size),
        name=request.name,
        model_card=request.card or bundled_card(request.model),
        overwrite=request.overwrite,
        on_remark=remarks.append,
        check=lambda made: measure(made, reference, images, progress=progress, shared=shared),
        shared=shared,
    )
    certificate = read_certificate(bundle)
    if certificate is None:
        raise BadBundle(f"{bundle.path}: the certificate that was just written is gone. Export again.")
    return replace(outcome_of(bundle, certificate), remarks=tuple(remarks))


def smaller_than_learnt(size: tuple[int, int] | None, weights: WeightsRecord) -> str | None:
    """What to know of a file for pictures of `size` (H, W) that is well below what trained weights were chosen at."""
    if size is None or not weights.train_ids or 4 * max(size) > 3 * weights.size:
        return None
    from lawder_edge.weights import carried_weights

    named = f"{weights.model}_{max(size)}"
    carried = [path.stem for path in carried_weights(weights.model)]
    advice = f"take --model {named}" if named in carried else "train and quantise at the size that the device has"
    return (
        f"{size[0]}x{size[1]}: these weights were chosen at {weights.size}x{weights.size}, and find less in smaller "
        f"pictures; {advice}"
    )


def source_model(bundle: Bundle, model: str | None = None) -> LoadedModel:
    """The module that a bundle was exported from: `model`, as `load_model` takes it, or else the weights carried for
    the manifest's model.

    A manifest's name is only looked up among the carried weights: a file must not make code run.
    Raises OtherWeights where those are other weights than the bundle holds, or none are carried and `model` is None;
    what `load_model` raises.
    """
    from lawder_edge.weights import carried_weights, load_model

    wanted = bundle.manifest.weights
    int8 = bundle.manifest.precision == "int8"
    carried = [str(path) for path in carried_weights(wanted.model, int8=int8) or carried_weights(wanted.model)]
    if model is None and not carried:
        of = f"{bundle.path}: exported from weights {wanted.sha256[:8]} of {wanted.model!r}"
        if ":" in wanted.model:
            raise OtherWeights(
                f"{of}, whose code a manifest must not make run. If you trust it, name it and its weights: "
                f"--model {shlex.quote(wanted.model)}=CHECKPOINT"
            )
        raise OtherWeights(
            f"{of}, of which the package carries none. Name the checkpoint that it was exported from: "
            "--model CHECKPOINT"
        )
    tried = {}
    for text in [model] if model else carried:
        loaded = load_model(text, int8=int8)
        if loaded.sha256 == wanted.sha256:
            return loaded
        tried[Path(text).stem if text in carried else text] = loaded.sha256[:8]
    raise OtherWeights(
        f"{bundle.path}: exported from weights {wanted.sha256[:8]}, but "
        f"{' and '.join(f'{name} has {sha256}' for name, sha256 in tried.items())}. Name the checkpoint that it was "
        "exported from: --model CHECKPOINT"
    )


def left_out(target: str, request: ExportRequest) -> ExportOutcome | None:
    """The row of a target that cannot give the precision, output and input that are asked for; None where it can."""
    asked = ExportSpec(precision=request.precision, output=request.kind, input_type=request.input_type)
    try:
        get_target(target).check(asked)
    except BadInput as error:
        return ExportOutcome(target, request.precision, "left-out", reason=str(error))
    return None
