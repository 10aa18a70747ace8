"""Verification of a bundle against the module that it was exported from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lawder_edge.bundle.certificate import Certificate, ImageAgreement, LogitDifference, unmeasured
from lawder_edge.bundle.manifest import InputSpec
from lawder_edge.bundle.processing import Float, Frame, Samples
from lawder_edge.bundle.runner import Runner, RunnerAround
from lawder_edge.bundle.store import Bundle, has_certificate, read_certificate, write_certificate
from lawder_edge.errors import BadBundle, BadInput, Unavailable
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting.judge import Exactly, agree, certify
from lawder_edge.exporting.shared import ALONE, PYTORCH, Shared, SharedRunner
from lawder_edge.targets.registry import Target, get_target, load_runner
from lawder_edge.versions import Tool, tool_of

if TYPE_CHECKING:
    from torch import nn

# What one dynamic file is tried at. The last is not square: a graph that swaps height and width is right at the others.
DYNAMIC_SIZES = ((128, 128), (256, 256), (352, 352), (192, 320))
PHANTOM_FRAMES = 8
PHANTOM_ID = "phantom/"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class VerifyImages:
    """Images to verify on, one in memory at a time.

    source: where they come from, with counts. count: how many there are. read: gives them anew at each call; fewer than
    `count` where some cannot be read and shall be left out.
    """

    source: str
    count: int
    read: Callable[[], Iterator[EvalPair]]


def phantom_images(count: int = PHANTOM_FRAMES, *, seed: int = 0) -> VerifyImages:
    """Phantom frames of 256x256 with exact masks, for where no real images are at hand."""
    from lawder_edge.data.phantom import make_frame

    def read() -> Iterator[EvalPair]:
        for n in range(count):
            made = make_frame(np.random.default_rng([seed, n]), size=(256, 256))
            yield EvalPair(f"{PHANTOM_ID}{n:03d}", "phantom", None, made.image, made.mask)

    return VerifyImages(f"{count} phantom frames", count, read)


def hostile_images(size: tuple[int, int], *, seed: int = 0) -> VerifyImages:
    """Frames that no scope gives: black, white, saturated red, noise, and a checkerboard of single pixels; no polyp.

    size: (H, W) in pixels.
    """

    def read() -> Iterator[EvalPair]:
        for name, frame in _hostile_frames(size, seed):
            yield EvalPair(f"hostile/{name}", "hostile", None, frame, np.zeros(size, np.uint8))

    return VerifyImages("5 hostile frames", 5, read)


def _hostile_frames(size: tuple[int, int], seed: int) -> Iterator[tuple[str, Frame]]:
    shape = (*size, 3)
    yield "black", np.zeros(shape, np.uint8)
    yield "white", np.full(shape, 255, np.uint8)
    yield "red", np.broadcast_to(np.array([255, 0, 0], np.uint8), shape).copy()
    yield "noise", np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    yield "checkerboard", np.repeat((np.indices(size).sum(0) % 2 * 255).astype(np.uint8)[:, :, None], 3, 2)


def verify_bundle(
    bundle: Bundle,
    model: nn.Module,
    images: VerifyImages,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> Certificate:
    """`measure`, and put the certificate into the bundle. A rejected bundle stays where it is: see `store.reject`.

    A certificate that the bundle already has stays where nothing can be measured here (`unverified-here`), and one of
    real images where phantom frames agree as well: it says more than theirs.
    """
    certificate = measure(bundle, model, images, seed=seed, threads=threads, progress=progress)
    if not _says_less(certificate, bundle):
        write_certificate(bundle, certificate)
    return certificate


def _says_less(new: Certificate, bundle: Bundle) -> bool:
    """Than the certificate that the bundle has."""
    if not has_certificate(bundle) or new.status == "rejected":
        return False
    if new.status == "unverified-here":
        return True
    try:
        old = read_certificate(bundle)
    except BadBundle:  # made for another model file
        return False
    return old is not None and old.status == "certified" and _on_phantoms(new) and not _on_phantoms(old)


def _on_phantoms(certificate: Certificate) -> bool:
    return all(image.id.startswith(PHANTOM_ID) for image in certificate.images)


def measure(
    bundle: Bundle,
    model: nn.Module,
    images: VerifyImages,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
    shared: Shared = ALONE,
) -> Certificate:
    """Run artifact and module on the same images with the same pre- and post-processing, and judge the artifact.

    Logits, or what the artifact gives in their place, are compared on every image at every size of `logit_sizes`, and
    on the first in a batch of two where the manifest allows batches; masks at the image's own size. seed: of the
    bootstrap. progress: called with images done, images in all, and the id. shared: with other exports of the module.

    Targets that compute the integer reference of a quantised module are judged by that, bit for bit; how near their
    masks are to the module's is told beside it.

    A runtime that is not here gives `unverified-here`; output that cannot be compared gives `rejected` without numbers.
    Raises BadInput for no images, or where the module itself gives values that are not finite.
    """
    manifest = bundle.manifest
    target = get_target(manifest.target)
    sha256 = manifest.model_entry.sha256
    try:
        runner = load_runner(bundle, threads=threads)
    except Unavailable as error:
        return unmeasured("unverified-here", str(error), artifact_sha256=sha256, source=images.source)
    tools = _tools(target, manifest.model_file)
    if target.exact:
        runner = _Remembering(runner)
    comparison = _Comparison(runner, _pytorch(model, runner, shared), manifest.input)
    exact = _Comparison(runner, _integers(model, runner, shared), manifest.input) if target.exact else None
    for n, pair in enumerate(images.read()):
        try:
            comparison.add(pair)
            if exact is not None:
                exact.add(pair)
        except (BadBundle, _NotComparableError) as error:
            return unmeasured(
                "rejected", f"{pair.id}: {error}", artifact_sha256=sha256, source=images.source, tools=tools
            )
        if progress:
            progress(n + 1, images.count, pair.id)
    if not comparison.images:
        raise BadInput(f"{images.source}: none of them can be read, so there is nothing to verify on.")
    left_out = images.count - len(comparison.images)
    return certify(
        artifact_sha256=sha256,
        source=images.source + (f" ({left_out} of them unreadable, left out)" if left_out else ""),
        images=comparison.images,
        groups=comparison.groups,
        logit_differences=comparison.logit_differences(),
        limits=target.limits(manifest.precision),
        kind=runner.kind,
        tools=tools,
        any_foreground=comparison.any_foreground,
        exactly=None if exact is None else exact.exactly("the integer reference"),
        seed=seed,
    )


def _pytorch(model: nn.Module, runner: Runner, shared: Shared) -> Runner:
    from lawder_edge.weights import TorchRunner

    reference = TorchRunner(
        model, size=runner.size, channels=runner.channels, classes=runner.classes, threshold=runner.threshold,
        kind=runner.kind,
    )  # fmt: skip
    return SharedRunner(reference, shared, what=PYTORCH)


def _integers(model: nn.Module, runner: Runner, shared: Shared) -> Runner:
    from lawder_edge.exporting.integer_reference import IntegerReference
    from lawder_edge.quantization.network import QuantizedNetwork

    if not isinstance(model, QuantizedNetwork):
        raise BadInput("these weights are not quantised, so there are no integers to compare with.")
    return IntegerReference(
        model, size=runner.size, channels=runner.channels, classes=runner.classes, threshold=runner.threshold,
        shared=shared,
    )  # fmt: skip


def logit_sizes(spec: InputSpec) -> tuple[tuple[int, int], ...]:
    """Input sizes (height, width) at which logits are compared: that of `predict` first, then `DYNAMIC_SIZES`, as far
    as the file takes them.
    """
    own = (spec.height, spec.width)
    if not spec.dynamic:
        return (own,)
    m = spec.multiple_of

    def near(side: int) -> int:
        on_grid = max(m, round(side / m) * m)
        return on_grid if spec.sides is None else min(max(on_grid, spec.sides[0]), spec.sides[1])

    return tuple(dict.fromkeys((own, *((near(h), near(w)) for h, w in DYNAMIC_SIZES))))


class _Remembering(RunnerAround):
    """A runner that computes once what two comparisons ask of it in turn: it keeps its last answer of each shape."""

    def __init__(self, inner: Runner) -> None:
        super().__init__(inner)
        self._last: dict[tuple[int, ...], tuple[Float, Samples]] = {}

    def infer(self, tensor: Float) -> Samples:
        known = self._last.get(tensor.shape)
        if known is None or not np.array_equal(known[0], tensor):
            known = self._last[tensor.shape] = (tensor, self.inner.infer(tensor))
        return known[1]


class _NotComparableError(Exception):
    """The artifact's output is of another shape than the module's, or not finite."""


class _Comparison:
    """How both sides agree on each image so far, and the largest logit difference at each size. Holds no image."""

    def __init__(self, runner: Runner, reference: Runner, spec: InputSpec) -> None:
        self._runner, self._reference = runner, reference
        self._sizes, self._batches = logit_sizes(spec), spec.dynamic_batch
        # (batch, height, width) -> largest difference
        self._largest: dict[tuple[int, int, int], float] = {}
        self._same: dict[tuple[int, int, int], list[float]] = {}
        self.images: list[ImageAgreement] = []
        self.groups: list[str | None] = []
        self.any_foreground = False

    def add(self, pair: EvalPair) -> None:
        for size in self._sizes:
            ours, theirs = self._logits(self._runner.prepare(pair.frame, size))
            if size == self._runner.size:
                self._add_masks(pair, ours, theirs)
        if self._batches and len(self.images) == 1:
            tensor = self._runner.prepare(pair.frame)
            # A mirrored second image: a graph that mixes images up, or repeats the first, cannot hide in equal ones.
            self._logits(np.concatenate([tensor, tensor[..., ::-1]]))

    def logit_differences(self) -> list[LogitDifference]:
        # Numbers of classes have no distance.
        is_mask = self._runner.kind == "mask"
        return [
            LogitDifference(h, w, None if is_mask else value, batch, float(np.mean(self._same[batch, h, w])))
            for (batch, h, w), value in self._largest.items()
        ]

    def exactly(self, name: str) -> Exactly:
        return Exactly(name, tuple(self.images), tuple(self.logit_differences()))

    def _logits(self, tensor: Float) -> tuple[Float, Float]:
        """What both sides give, comparable, after the difference is noted."""
        batch, _, height, width = tensor.shape
        at = f"at {height}x{width}" + f" in a batch of {batch}" * (batch > 1)
        theirs = self._reference.infer(tensor)
        if not np.isfinite(theirs).all():
            raise BadInput(
                f"PyTorch itself gives values {at} that are not finite numbers, so nothing can be compared with them. "
                "Check the weights: `lawder-edge eval` on the checkpoint shows whether training diverged."
            )
        ours = self._runner.infer(tensor)
        if ours.shape != theirs.shape:
            raise _NotComparableError(f"the artifact gives {ours.shape} {at}, PyTorch {theirs.shape}")
        if not np.isfinite(ours).all():
            raise _NotComparableError(f"the artifact gives values {at} that are not finite numbers")
        # In float64, where the difference of two finite float32 numbers is finite.
        difference = float(np.abs(ours.astype(np.float64) - theirs).max())
        key = (batch, height, width)
        self._largest[key] = max(self._largest.get(key, 0.0), difference)
        for a, b in zip(ours, theirs, strict=True):
            classes = [side.finish_labels(logits[None], (height, width))
                       for side, logits in ((self._runner, a), (self._reference, b))]  # fmt: skip
            self._same.setdefault(key, []).append(float(np.mean(classes[0] == classes[1])))
        return ours, theirs

    def _add_masks(self, pair: EvalPair, ours: Float, theirs: Float) -> None:
        shown = (pair.frame.shape[0], pair.frame.shape[1])
        artifact = self._runner.finish_labels(ours, shown)
        pytorch = self._reference.finish_labels(theirs, shown)
        self.images.append(
            agree(pair.id, pair.labels, artifact=artifact, pytorch=pytorch, classes=self._runner.classes)
        )
        self.groups.append(pair.group)
        self.any_foreground |= bool(artifact.any() or pytorch.any())


def _tools(target: Target, model_file: str) -> tuple[Tool, ...]:
    return tuple(tool_of(module) for module in sorted({*target.runtime_of(model_file), "numpy", "torch"}))
