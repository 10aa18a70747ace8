"""Verification of a bundle against the module that it was exported from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.certificate import Certificate, LogitDifference, certify, unmeasured
from lawder_edge.bundle.manifest import InputSpec, Tool
from lawder_edge.bundle.processing import Frame, Mask, to_mask
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, write_certificate
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.targets.registry import Target, get_target, load_runner

if TYPE_CHECKING:
    from torch import nn

# What one dynamic file is tried at. The last is not square: a graph that swaps height and width is right at the others.
DYNAMIC_SIZES = ((128, 128), (256, 256), (352, 352), (192, 320))
PHANTOM_FRAMES = 8

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class VerifyImages:
    """Images to verify on. source: where they come from, with counts.

    frames: (H, W, 3) uint8 RGB. truths: (H, W), foreground where not 0. groups: sequence or patient of each, for the
    intervals. Raises BadInput for no images, or lists of different lengths.
    """

    source: str
    ids: Sequence[str]
    frames: Sequence[Frame]
    truths: Sequence[npt.NDArray[Any]]
    groups: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        lengths = {
            len(self.ids),
            len(self.frames),
            len(self.truths),
            len(self.ids if self.groups is None else self.groups),
        }
        if len(lengths) > 1 or lengths == {0}:
            raise BadInput(
                f"{self.source}: {len(self.ids)} ids, {len(self.frames)} frames and {len(self.truths)} masks to verify "
                "on; wanted at least one of each, and as many of each"
            )


def phantom_images(count: int = PHANTOM_FRAMES, *, seed: int = 0) -> VerifyImages:
    """Phantom frames of 256x256 with exact masks, for where no real images are at hand."""
    from lawder_edge.data.phantom import make_frame

    made = [make_frame(np.random.default_rng([seed, n]), size=(256, 256)) for n in range(count)]
    ids = [f"phantom/{n:03d}" for n in range(count)]
    return VerifyImages(f"{count} phantom frames", ids, [m.image for m in made], [m.mask for m in made])


def verify_bundle(
    bundle: Bundle,
    model: nn.Module,
    images: VerifyImages,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> Certificate:
    """`measure`, and put the certificate into the bundle. A rejected bundle stays where it is: see `store.reject`."""
    certificate = measure(bundle, model, images, seed=seed, threads=threads, progress=progress)
    write_certificate(bundle, certificate)
    return certificate


def measure(
    bundle: Bundle,
    model: nn.Module,
    images: VerifyImages,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> Certificate:
    """Run artifact and module on the same images with the same pre- and post-processing, and judge the artifact.

    Logits are compared on every image at every size of `logit_sizes`, masks at the image's own size. seed: of the
    bootstrap. progress: called with images done, images in all, and the id.

    A runtime that is not here gives `unverified-here`; output that cannot be compared gives `rejected` without numbers.
    Raises BadInput where the module itself gives values that are not finite.
    """
    from lawder_edge.loading import TorchRunner

    manifest = bundle.manifest
    target = get_target(manifest.target)
    sha256 = manifest.model_entry.sha256
    try:
        runner = load_runner(bundle, threads=threads)
    except Unavailable as error:
        return unmeasured("unverified-here", str(error), artifact_sha256=sha256, source=images.source)
    reference = TorchRunner(
        model, size=runner.size, channels=runner.channels, classes=runner.classes, threshold=runner.threshold
    )
    comparison = _Comparison(runner, reference, logit_sizes(manifest.input))
    for n, (name, frame) in enumerate(zip(images.ids, images.frames, strict=True)):
        try:
            comparison.add(frame)
        except (BadBundle, _NotComparableError) as error:
            return unmeasured(
                "rejected", f"{name}: {error}", artifact_sha256=sha256, source=images.source, tools=_tools(target)
            )
        if progress:
            progress(n + 1, len(images.ids), name)
    return certify(
        artifact_sha256=sha256,
        source=images.source,
        ids=images.ids,
        truths=images.truths,
        groups=images.groups,
        artifact_masks=comparison.artifact_masks,
        pytorch_masks=comparison.pytorch_masks,
        logit_differences=[LogitDifference(*size, value) for size, value in comparison.largest.items()],
        limits=target.limits(manifest.precision),
        tools=_tools(target),
        seed=seed,
    )


def logit_sizes(spec: InputSpec) -> tuple[tuple[int, int], ...]:
    """Input sizes (height, width) at which logits are compared: that of `predict` first, then `DYNAMIC_SIZES`."""
    own = (spec.height, spec.width)
    if not spec.dynamic:
        return (own,)
    m = spec.multiple_of
    near = [(max(m, round(h / m) * m), max(m, round(w / m) * m)) for h, w in DYNAMIC_SIZES]
    return tuple(dict.fromkeys((own, *near)))


class _NotComparableError(Exception):
    """The artifact's output is of another shape than the module's, or not finite."""


class _Comparison:
    """Masks of both sides so far, and the largest logit difference at each size."""

    def __init__(self, runner: Runner, reference: Runner, sizes: tuple[tuple[int, int], ...]) -> None:
        self._runner, self._reference = runner, reference
        self.artifact_masks: list[Mask] = []
        self.pytorch_masks: list[Mask] = []
        self.largest = dict.fromkeys(sizes, 0.0)

    def add(self, frame: Frame) -> None:
        shown = (frame.shape[0], frame.shape[1])
        for size in self.largest:
            tensor = self._runner.prepare(frame, size)
            theirs = self._reference.infer(tensor)
            ours = self._runner.infer(tensor)
            at = f"at {size[0]}x{size[1]}"
            if ours.shape != theirs.shape:
                raise _NotComparableError(f"the artifact gives {ours.shape} {at}, PyTorch {theirs.shape}")
            if size == self._runner.size:
                self.pytorch_masks.append(to_mask(self._reference.finish(theirs, shown), self._reference.threshold))
            if not np.isfinite(ours).all():
                raise _NotComparableError(f"the artifact gives values {at} that are not finite numbers")
            if size == self._runner.size:
                self.artifact_masks.append(to_mask(self._runner.finish(ours, shown), self._runner.threshold))
            self.largest[size] = max(self.largest[size], float(np.abs(ours - theirs).max()))


def _tools(target: Target) -> tuple[Tool, ...]:
    names = sorted({*target.to_run, "numpy", "torch"})
    return tuple(Tool(name, importlib.metadata.version(name)) for name in names)
