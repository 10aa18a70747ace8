"""What every runtime looks like from outside: a frame in, a probability map out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from lawder_edge.bundle.manifest import InputSpec, Manifest, OutputKind
from lawder_edge.bundle.processing import (
    Float,
    Frame,
    Labels,
    Mask,
    Samples,
    checked_probabilities,
    foreground,
    labels,
    labels_to_size,
    prob_to_size,
    probabilities,
    stored,
    to_tensor,
)
from lawder_edge.errors import BadBundle, BadImage, BadInput


class Runner(ABC):
    """A loaded model. Subclasses implement `infer`; what happens before and after it is the same for all.

    size: (height, width) in pixels that `predict` resizes frames to. channels: 3 (RGB) or 1 (luma). classes: channels
    of the output. threshold: probability from which a pixel is foreground. kind: what `infer` returns; of a network
    that gives masks nothing but masks and labels can be had. arena_bytes: that its activations were planned to take,
    None where the runtime plans by itself.
    """

    arena_bytes: int | None = None

    def __init__(
        self,
        *,
        size: tuple[int, int],
        channels: int = 3,
        classes: int = 1,
        threshold: float = 0.5,
        kind: OutputKind = "logits",
    ) -> None:
        self.size = size
        self.channels = channels
        self.classes = classes
        self.threshold = threshold
        self.kind: OutputKind = kind

    @abstractmethod
    def infer(self, tensor: Float) -> Samples:
        """The bare network.

        tensor: (B, C, h, w) float32 in [-1, 1), as `processing.to_tensor` gives it, whatever the target's own layout.
        Returns: (B, classes, h, w) float32 of the kind that `kind` says, for masks class numbers (B, 1, h, w) uint8.
        Raises BadInput for a shape that it does not take.
        """

    def predict(self, frame: Frame) -> Float:
        """Foreground probability of every pixel.

        frame: (H, W, 3) uint8 RGB or (H, W, 1) grey, any H and W. Returns: (H, W) float32 in [0, 1]; with several
        classes the probability of anything but class 0. Raises BadImage for a frame that cannot be resized to the
        network's input, BadInput for a network whose output is not finite, or is a mask.
        """
        return self.finish(self.infer(self.prepare(frame)), (frame.shape[0], frame.shape[1]))

    def predict_classes(self, frame: Frame) -> Float:
        """`predict` for each class. Returns: (classes, H, W) float32 in [0, 1]."""
        return self.finish_classes(self.infer(self.prepare(frame)), (frame.shape[0], frame.shape[1]))

    def predict_labels(self, frame: Frame) -> Labels:
        """The class of every pixel: with one class 1 from `threshold`, with several the most probable.

        frame and errors as in `predict`, but that masks are welcome. Returns: (H, W) uint8, 0 for background.
        """
        return self.finish_labels(self.infer(self.prepare(frame)), (frame.shape[0], frame.shape[1]))

    def prepare(self, frame: Frame, size: tuple[int, int] | None = None) -> Float:
        """A frame as `infer` takes it, (1, C, h, w), at `size` or else at the size of `predict`. Raises BadImage."""
        try:
            return to_tensor(frame, size or self.size, channels=self.channels)
        except ValueError as error:
            raise BadImage(f"the frame cannot be used: {error}") from error

    def finish(self, output: Samples, size: tuple[int, int]) -> Float:
        """What `infer` gave for one frame, (1, classes, h, w) -> foreground probability (H, W) at `size` in pixels.

        Raises BadInput for output that is not finite.
        """
        return prob_to_size(foreground(self._probabilities(output))[0], size)

    def finish_labels(self, output: Samples, size: tuple[int, int]) -> Labels:
        """What `infer` gave for one frame, (1, classes, h, w) -> class of every pixel (H, W) uint8 at `size`.

        Probabilities are resized and then cut, class numbers resized to the nearest. Raises BadInput for output that is
        not finite.
        """
        if self.kind == "mask":
            self._check_finite(output)
            return labels_to_size(np.asarray(output[0, 0], np.uint8), size)
        return labels(self.finish_classes(output, size), self.threshold)

    def finish_classes(self, output: Samples, size: tuple[int, int]) -> Float:
        """What `infer` gave for one frame, (1, classes, h, w) -> probability of every class (classes, H, W) at `size`.

        float32 in [0, 1], multiples of 1/65535. Raises BadInput for output that is not finite, and for masks, which
        hold no probabilities; BadBundle for probabilities that are none.
        """
        return np.stack([prob_to_size(p, size) for p in self._probabilities(output)[0]])

    def _probabilities(self, output: Samples) -> Float:
        if self.kind == "mask":
            raise BadInput(
                "this network gives masks: class numbers, and no probabilities. Use predict_mask or predict_labels, or "
                "export it again with --output prob or --output logits."
            )
        self._check_finite(output)
        if self.kind == "logits":
            return probabilities(output)
        try:
            return checked_probabilities(output)
        except ValueError as error:
            raise BadBundle(f"{error}. Export the bundle again.") from error

    @staticmethod
    def _check_finite(output: Samples) -> None:
        if not np.isfinite(output).all():
            raise BadInput(
                "the network gave values that are not finite numbers, so there is no mask. Check the weights that it "
                "was made from: `lawder-edge eval` on the checkpoint shows whether training diverged."
            )

    def predict_mask(self, frame: Frame) -> Mask:
        """Where `predict_labels` finds anything but background. Returns: (H, W) bool."""
        mask: Mask = self.predict_labels(frame) != 0
        return mask


class RunnerAround(Runner):
    """Another runner, `inner`, to all outside: subclasses implement `infer` around its own."""

    def __init__(self, inner: Runner) -> None:
        super().__init__(
            size=inner.size, channels=inner.channels, classes=inner.classes, threshold=inner.threshold, kind=inner.kind
        )
        self.inner = inner


class ManifestRunner(Runner):
    """A bundle's artifact: everything but `infer` stands in its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        spec = manifest.input
        super().__init__(
            size=(spec.height, spec.width),
            channels=spec.channels,
            classes=manifest.output.classes,
            threshold=manifest.threshold,
            kind=manifest.output.kind,
        )
        self._spec = spec
        self._name = manifest.model_file

    def _checked(self, tensor: Float) -> Samples:
        """A tensor for `infer` in the type that the file takes. Raises BadInput for one that does not fit."""
        check_tensor(tensor, self._spec)
        return stored(tensor, self._spec.dtype)


def check_tensor(tensor: Float, spec: InputSpec) -> None:
    """Raises BadInput where a tensor for `infer`, (B, C, h, w), has another shape or type than the manifest allows."""
    batch, channels, height, width = tensor.shape if tensor.ndim == 4 else (0, 0, 0, 0)
    if spec.dynamic:
        least, largest = spec.sides or (1, max(height, width))
        fits = all(n % spec.multiple_of == 0 and 0 < least <= n <= largest for n in (height, width))
    else:
        fits = (height, width) == (spec.height, spec.width)
    fits = fits and channels == spec.channels and (batch == 1 or (batch > 1 and spec.dynamic_batch))
    if not fits or tensor.dtype != np.float32:
        size = f"multiples of {spec.multiple_of}" if spec.dynamic else f"{spec.height}, {spec.width}"
        if spec.sides is not None:
            size += f" from {spec.sides[0]} to {spec.sides[1]}"
        raise BadInput(
            f"infer wants float32 of (batch {'any' if spec.dynamic_batch else 1}, {spec.channels}, {size}), got "
            f"{tensor.dtype} of {tensor.shape}. Use predict for frames of any size."
        )
