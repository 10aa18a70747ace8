"""The certificate: proof, for one file's hash, that an artifact draws the masks that PyTorch draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lawder_edge.bundle.manifest import OutputKind
from lawder_edge.codec import decode, encode
from lawder_edge.intervals import Interval
from lawder_edge.versions import Tool

CERTIFICATE_NAME = "certificate.json"
SCHEMA_VERSION = 1

Status = Literal["certified", "unverified-here", "rejected"]


@dataclass(frozen=True)
class Limits:
    """What an artifact must keep to; None where a limit says nothing at its precision.

    logit_difference: the most that a logit may differ from PyTorch's, at every size tried. mask_dice_mean,
    mask_dice_worst: the least Dice between its masks and PyTorch's, over the images and of the worst one.
    dice_drop_high: the most that the upper end of the interval of the drop in Dice against the truth may be.
    same_pixels: the least share of the network's own pixels that get PyTorch's class, at every size tried.
    """

    logit_difference: float | None
    mask_dice_mean: float
    mask_dice_worst: float | None = None
    dice_drop_high: float | None = None
    same_pixels: float | None = None

    def of(self, kind: OutputKind) -> Limits:
        """The same strictness for an artifact that gives that kind.

        At the steepest point a sigmoid passes a quarter of a logit's difference on, so that probabilities must be four
        times as near. Where no logits are left to compare, pixels are, as many at every size as masks agree in.
        """
        if kind == "logits":
            return self
        largest = self.logit_difference
        return replace(
            self,
            logit_difference=None if largest is None or kind == "mask" else largest / 4,
            same_pixels=LEAST_SAME_PIXELS if self.same_pixels is None else self.same_pixels,
            mask_dice_worst=LEAST_MASK_DICE if self.mask_dice_worst is None else self.mask_dice_worst,
        )


# Of float32 where there are no logits. Logits 1e-4 apart give 2 pixels in 10,000 another class if every tenth lies
# within 0.05 of the threshold; a graph that is wrong at one size, every tenth. Of a polyp of 100 pixels one may differ.
LEAST_SAME_PIXELS, LEAST_MASK_DICE = 0.9995, 0.99

# float32 runtimes reorder sums and nothing else.
FP32_LIMITS = Limits(logit_difference=1e-4, mask_dice_mean=0.999)
# Rounding to 11 bits moves a logit in proportion to the network's own range (0.1 to 0.2 where that is -25 to 7), so
# masks are judged; at sizes without masks, pixels: 99.9 % agree in half precision, a graph wrong at one size has 90 %.
FP16_LIMITS = Limits(
    logit_difference=None, mask_dice_mean=0.99, mask_dice_worst=0.95, dice_drop_high=0.01, same_pixels=0.99
)
# Against PyTorch's own int8 arithmetic, from which runtimes differ by a few steps on some pixels of an edge: of ORDER's
# pixels 98.4 % agree with symmetric and 99.6 % with asymmetric activations.
INT8_LIMITS = Limits(
    logit_difference=None, mask_dice_mean=0.99, mask_dice_worst=0.95, dice_drop_high=0.01, same_pixels=0.97
)


# Of what computes the integer reference itself: every bit.
EXACT_LIMITS = Limits(
    logit_difference=0.0, mask_dice_mean=1.0, mask_dice_worst=1.0, dice_drop_high=0.0, same_pixels=1.0
)


@dataclass(frozen=True)
class LogitDifference:
    """How far an artifact's output is from PyTorch's over all images resized to one input size, in pixels.

    largest: absolute difference of logits, or of probabilities where it gives those; None for masks. batch: images in
    one call. same_pixels: share of pixels that get the same class from both, mean over the images.
    """

    height: int
    width: int
    largest: float | None
    batch: int = 1
    same_pixels: float = 1.0


@dataclass(frozen=True)
class ImageAgreement:
    """One image, all in [0, 1]. dice_*: against the ground truth. mask_dice, surface_dice: artifact against PyTorch.

    With several classes each is the mean over the foreground classes.
    """

    id: str
    dice_artifact: float
    dice_pytorch: float
    mask_dice: float
    surface_dice: float


@dataclass(frozen=True)
class MeanAndWorst:
    """Mean over the images, and the least with the image that it belongs to."""

    mean: float
    worst: float
    worst_id: str


@dataclass(frozen=True)
class Agreement:
    """What was measured. Intervals are 95 % bootstrap intervals, clustered where groups are known.

    dice_drop: PyTorch's Dice less the artifact's, on the same images; positive where the artifact is worse.
    surface_dice: at 2 px, between artifact and PyTorch.
    """

    dice_artifact: Interval
    dice_pytorch: Interval
    dice_drop: Interval
    mask_dice: MeanAndWorst
    surface_dice: MeanAndWorst
    logit_differences: tuple[LogitDifference, ...]


@dataclass(frozen=True)
class Gate:
    """One limit, the value found, and whether it holds."""

    name: str
    rule: Literal["at most", "at least"]
    limit: float
    value: float
    passed: bool


@dataclass(frozen=True)
class Certificate:
    """Verdict on one model file.

    status: `certified`, `unverified-here` (what is missing stands in `reason`) or `rejected`. source: where the images
    came from, with counts. tools: what ran both sides. agreement: None where nothing could be measured.
    """

    schema_version: int
    status: Status
    reason: str
    artifact_sha256: str
    source: str
    tools: tuple[Tool, ...]
    agreement: Agreement | None
    gates: tuple[Gate, ...]
    images: tuple[ImageAgreement, ...]

    def to_json(self) -> str:
        """JSON text, the same for the same certificate."""
        return encode(self)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = CERTIFICATE_NAME) -> Certificate:
        """Raises BadBundle naming the key that is missing, unknown, or of another type."""
        return decode(cls, text, source=source)


def unmeasured(
    status: Literal["unverified-here", "rejected"],
    reason: str,
    *,
    artifact_sha256: str,
    source: str,
    tools: tuple[Tool, ...] = (),
) -> Certificate:
    """A certificate without numbers: the runtime is not here, or its output cannot be compared at all."""
    return Certificate(SCHEMA_VERSION, status, reason, artifact_sha256, source, tools, None, (), ())
