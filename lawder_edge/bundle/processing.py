"""Pre- and post-processing: the only copy.

Written for numpy and the standard library alone, because this file is copied unchanged into every bundle and runs on
the device beside the model. The resize is arithmetic of integers throughout, so that numpy, C and every machine give
the same bytes; libraries only decode images.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]
Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

RESIZE_RULE = "triangle-q14"
RESIZE_VERSION = 1
INPUT_RANGE = "(rgb-128)/128"
# Half a unit of rounding for each of 2 * 1024 taps keeps every partial sum of 16-bit samples below 2^31.
MAX_SHRINK = 1024
_BITS = 14
# Outputs of one matrix product. A shrink in bands of 12 multiplies 6.5 times as often as its taps, and takes a third of
# the time of adding tap by tap: 7 ms rather than 21 from 1080p to 256x256. When growing, a band reads eight inputs.
_BAND, _BAND_INPUTS = 12, 8
# Rows of samples that are turned to numbers at once, and samples: enough for the product to be fast, few enough for the
# cache.
_STRIP, _STRIP_SAMPLES = 192, 1 << 21


@lru_cache(maxsize=64)
def taps(source: int, target: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]:
    """Which samples make each output sample of one axis, and by how much.

    A triangle over half-pixel centres, as wide as one output sample when shrinking and one input sample when growing:
    with d = |(2j+1) target - (2i+1) source| and support = 2 max(source, target), input j weighs support - d where that
    is positive, then the weights of output i are scaled to 2^14, rounded to nearest, and what is missing to a sum of
    2^14 is added to the largest (the first of equals). Taps outside the image are left out before the scaling.

    Returns: indices and weights, both (target, T), read-only; unused places hold a valid index and weight 0.
    Raises ValueError for a length below 1 or a shrink beyond MAX_SHRINK.
    """
    if source < 1 or target < 1:
        raise ValueError(f"resize from {source} to {target} samples: both must be at least 1")
    if source > MAX_SHRINK * target:
        raise ValueError(
            f"resize from {source} to {target} samples: shrinks by at most {MAX_SHRINK}, crop or tile first"
        )
    support = 2 * max(source, target)
    centre = (2 * np.arange(target, dtype=np.int64)[:, None] + 1) * source
    first = np.maximum((centre - support - target) // (2 * target) + 1, 0)
    index = first + np.arange(support // target + 1, dtype=np.int64)
    raw = np.maximum(support - np.abs((2 * index + 1) * target - centre), 0)
    raw[index >= source] = 0
    total = raw.sum(axis=1, keepdims=True)
    weight = ((raw << (_BITS + 1)) + total) // (2 * total)
    rows = np.arange(target)
    weight[rows, raw.argmax(axis=1)] += (1 << _BITS) - weight.sum(axis=1)
    used = weight.any(axis=0)
    indices, weights = np.minimum(index, source - 1)[:, used].astype(np.intp), weight[:, used].astype(np.int32)
    indices.flags.writeable = weights.flags.writeable = False
    return indices, weights


class _Band(NamedTuple):
    """Neighbouring outputs of one axis. weights: (inputs, outputs), those of `taps` over 2^14. clamped: whether one is
    negative, which none is up to a shrink of 128; beyond, the largest could take more rounding than it holds.
    """

    inputs: slice
    outputs: slice
    weights: npt.NDArray[Any]
    clamped: bool


@lru_cache(maxsize=64)
def _bands(source: int, target: int, real: str) -> tuple[_Band, ...]:
    """`taps` as matrices of the type `real`: float32 for samples of 8 bits, float64 for 16.

    A product of samples and weights is a sum of multiples of 2^-14 below 2^9 (8 bits) or 2^17 (16 bits), which either
    type holds exactly whatever the order of the sum, fused or not: the same as in integers.
    """
    indices, weights = taps(source, target)
    count = max(_BAND, _BAND_INPUTS * target // source)
    found = []
    for start in range(0, target, count):
        index, weight = indices[start : start + count], weights[start : start + count]
        first, last = int(index.min()), int(index.max())
        matrix = np.zeros((last + 1 - first, len(index)), real)
        # Places that are not used point at an input that may be used by another place.
        np.add.at(matrix, (index - first, np.arange(len(index))[:, None]), weight / (1 << _BITS))
        matrix.flags.writeable = False
        clamped = bool(matrix.min() < 0)
        found.append(_Band(slice(first, last + 1), slice(start, start + len(index)), matrix, clamped))
    return tuple(found)


def _samples(total: npt.NDArray[Any], dtype: np.dtype[Any], *, clamped: bool) -> Samples:
    """Sums in units of a sample, to the nearest one, halves up. Changes `total`."""
    total += total.dtype.type(0.5)
    if clamped:
        total.clip(0, np.iinfo(dtype).max, out=total)
    # Towards zero, which is down.
    return total.astype(dtype)


def resize(image: Samples, size: tuple[int, int], *, part: tuple[slice, slice] | None = None) -> Samples:
    """Resize with a triangle filter in exact integers: anti-aliased when shrinking, bilinear when growing.

    image: (H, W) or (H, W, C), uint8 or uint16. size: (height, width) in pixels. part: rows and columns of the result
    that are wanted, each from a start to a stop inside of it; the rest is not computed. Returns: (height, width[, C]),
    or that part of it, of the same dtype. Columns first, then rows; each pass computes (sum + 2^13) >> 14 with the
    weights of `taps`, clamped to the sample type. Raises ValueError for another shape or dtype, an empty image, or a
    shrink beyond MAX_SHRINK.
    """
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"resize wants (H, W) or (H, W, C) of uint8 or uint16, got {image.shape} of {image.dtype}")
    rows, columns = part or (slice(0, size[0]), slice(0, size[1]))
    if image.shape[:2] == tuple(size):
        return image[rows, columns].copy()
    real = "float32" if image.dtype == np.uint8 else "float64"
    down = _bands_of(image.shape[0], size[0], real, rows)
    across = _bands_of(image.shape[1], size[1], real, columns)
    # Only the rows that some band reads.
    top = down[0].inputs.start
    planes = image.reshape(*image.shape[:2], -1)[top : down[-1].inputs.stop]
    wide = _resize_columns(planes, across)
    resized = _resize_rows(wide, down, top)
    first_row, first_column = down[0].outputs.start, across[0].outputs.start
    wanted = (
        slice(rows.start - first_row, rows.stop - first_row),
        slice(columns.start - first_column, columns.stop - first_column),
    )
    inner = resized.transpose(0, 2, 1)[wanted]
    return np.ascontiguousarray(inner).reshape(*inner.shape[:2], *image.shape[2:])


def _bands_of(source: int, target: int, real: str, wanted: slice) -> tuple[_Band, ...]:
    """Those of `_bands` that hold a wanted output."""
    bands = _bands(source, target, real)
    return tuple(b for b in bands if b.outputs.start < wanted.stop and b.outputs.stop > wanted.start)


def _resize_columns(image: Samples, bands: tuple[_Band, ...]) -> Samples:
    """image: (H, W, C) -> (H, C, outputs of the bands)."""
    height, width, channels = image.shape
    start, stop = bands[0].outputs.start, bands[-1].outputs.stop
    real, clamped = bands[0].weights.dtype, any(band.clamped for band in bands)
    out = np.empty((height, channels, stop - start), image.dtype)
    step = max(1, min(_STRIP, _STRIP_SAMPLES // width) // channels)
    for top in range(0, height, step):
        # Channels apart, so that the samples that a product sums are neighbours.
        strip = image[top : top + step].transpose(0, 2, 1).astype(real, order="C").reshape(-1, width)
        total = np.empty((len(strip), stop - start), real)
        for band in bands:
            place = slice(band.outputs.start - start, band.outputs.stop - start)
            np.matmul(strip[:, band.inputs], band.weights, out=total[:, place])
        out[top : top + step] = _samples(total, image.dtype, clamped=clamped).reshape(-1, channels, stop - start)
    return out


def _resize_rows(wide: Samples, bands: tuple[_Band, ...], top: int) -> Samples:
    """wide: (H, C, W), whose first row is `top` of the image -> (outputs of the bands, C, W)."""
    height, channels, width = wide.shape
    start, stop = bands[0].outputs.start, bands[-1].outputs.stop
    out = np.empty((stop - start, channels, width), wide.dtype)
    flat = wide.reshape(height, -1)
    for band in bands:
        rows = flat[band.inputs.start - top : band.inputs.stop - top].astype(band.weights.dtype)
        place = slice(band.outputs.start - start, band.outputs.stop - start)
        total = band.weights.T @ rows
        out[place] = _samples(total, wide.dtype, clamped=band.clamped).reshape(-1, channels, width)
    return out


def grey(frame: Frame) -> Frame:
    """Integer luma (77 R + 150 G + 29 B + 128) >> 8, exact for grey input. frame: (H, W, 3) uint8 RGB -> (H, W)."""
    luma = frame.astype(np.uint16) @ np.array([77, 150, 29], np.uint16)
    return ((luma + 128) >> 8).astype(np.uint8)


def to_tensor(frame: Frame, size: tuple[int, int], *, channels: int = 3) -> Float:
    """A frame as the network takes it: resized, then (rgb - 128) / 128.

    frame: (H, W, 3) uint8 RGB, or (H, W, 1) grey. size: (h, w) in pixels. channels: 3, or 1 for networks that take
    luma; a grey frame is repeated for 3. Returns: (1, channels, h, w) float32 in [-1, 1). Raises ValueError for another
    shape, dtype or channel count.
    """
    tensor: Float = to_input(frame, size, channels=channels)
    return tensor


def to_input(frame: Frame, size: tuple[int, int], *, channels: int = 3, dtype: str = "float32") -> Samples:
    """As `to_tensor`, in the type that a model file takes.

    dtype: float32; uint8 for the resized samples as they are; int8 for those XOR 0x80, which are rgb - 128.
    Returns: (1, channels, h, w) of it. Raises ValueError as `to_tensor`, and for another dtype.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise ValueError(f"a frame is (H, W, 3) uint8 RGB or (H, W, 1) grey, got {frame.shape} of {frame.dtype}")
    if channels not in (1, 3):
        raise ValueError(f"networks take 1 or 3 channels, got {channels}")
    if channels == 1 and frame.shape[2] == 3:
        frame = grey(frame)[:, :, None]
    planes = np.repeat(resize(frame, size), channels // frame.shape[2], axis=2).transpose(2, 0, 1)[None]
    if dtype == "uint8":
        return np.ascontiguousarray(planes)
    if dtype == "int8":
        return np.ascontiguousarray(planes ^ np.uint8(0x80)).view(np.int8)
    if dtype != "float32":
        raise ValueError(f"networks take float32, uint8 or int8, got {dtype}")
    tensor: Float = (np.ascontiguousarray(planes, np.float32) - np.float32(128)) / np.float32(128)
    return tensor


def stored(tensor: Float, dtype: str) -> Samples:
    """A tensor of `to_tensor` in the type that a model file takes, exactly; other numbers go to the nearest sample.

    tensor: any shape, float32 in [-1, 1). dtype: as in `to_input`. Returns: the same shape.
    """
    if dtype == "float32":
        return tensor
    centred: Samples = np.clip(np.rint(tensor * np.float32(128)), -128, 127).astype(np.int8)
    return centred if dtype == "int8" else centred.view(np.uint8) ^ np.uint8(0x80)


def probabilities(logits: Float) -> Float:
    """Sigmoid for one channel, softmax over the channels for several, stable for any finite logit.

    logits: (B, K, h, w) float32. Returns: (B, K, h, w) float32 in [0, 1].
    """
    if logits.shape[1] == 1:
        decay = np.exp(-np.abs(logits))
        sigmoid: Float = np.where(logits >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)
        return sigmoid
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float = (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def checked_probabilities(output: Samples) -> Float:
    """What a network that gives probabilities itself gave, without what its runtime rounded past 0 or 1.

    output: (B, K, h, w). Returns: the same, float32 in [0, 1]. Raises ValueError for values more than 1e-5 outside, or
    not a number.
    """
    if not np.all((output >= -1e-5) & (output <= 1 + 1e-5)):
        raise ValueError("probabilities outside [0, 1] or not a number: the network's output cannot be used")
    inside: Float = np.clip(output, 0, 1).astype(np.float32)
    return inside


def foreground(probability: Float) -> Float:
    """Probability of anything but background, which is class 0 where there are several.

    probability: (B, K, h, w) float32 from `probabilities`. Returns: (B, h, w) float32 in [0, 1].
    """
    if probability.shape[1] == 1:
        return probability[:, 0]
    total: Float = np.minimum(probability[:, 1:].sum(axis=1), 1).astype(np.float32)
    return total


def prob_to_size(probability: Float, size: tuple[int, int], *, part: tuple[slice, slice] | None = None) -> Float:
    """Resize a probability map by the one resize, through uint16.

    probability: (h, w) float32 in [0, 1]. size: (H, W) in pixels. part: as of `resize`. Returns: (H, W) float32 in
    [0, 1], multiples of 1/65535, or that part of it. Raises ValueError for values outside [0, 1] or not a number.
    """
    if not np.all((probability >= 0) & (probability <= 1)):
        raise ValueError("probabilities outside [0, 1] or not a number: the network's output cannot be used")
    # In float64 the product is exact, so that a fused multiply-add gives the same integer.
    steps = np.floor(probability.astype(np.float64) * 65535 + 0.5).astype(np.uint16)
    resized: Float = resize(steps, size, part=part).astype(np.float32) / np.float32(65535)
    return resized


def to_mask(probability: Float, threshold: float) -> Mask:
    """probability: (H, W) float32 in [0, 1]. Returns: (H, W) bool, true at `threshold` and above."""
    return probability >= np.float32(threshold)


def labels(probability: Float, threshold: float) -> Labels:
    """The class of every pixel.

    probability: (H, W) or (1, H, W) float32 in [0, 1], foreground where at `threshold` and above; or (K, H, W), where
    the most probable class is taken, the first of equals. Returns: (H, W) uint8, 0 for background. Raises ValueError
    for another shape or more than 256 classes.
    """
    classes = probability.shape[0] if probability.ndim == 3 else 1
    if probability.ndim not in (2, 3) or not 1 <= classes <= 256:
        raise ValueError(f"labels come from (H, W) or (K, H, W) with up to 256 classes, got {probability.shape}")
    if classes > 1:
        found: Labels = probability.argmax(axis=0).astype(np.uint8)
        return found
    return to_mask(probability.reshape(probability.shape[-2:]), threshold).astype(np.uint8)


def class_numbers(probability: Float, threshold: float) -> Labels:
    """`labels` of a batch, as a network that gives masks computes them.

    probability: (B, K, h, w) float32 in [0, 1]. Returns: (B, 1, h, w) uint8.
    """
    return np.stack([labels(image, threshold)[None] for image in probability])


def labels_to_size(numbers: Labels, size: tuple[int, int]) -> Labels:
    """Resize class numbers, between which nothing lies: each pixel takes that of the nearest centre.

    numbers: (h, w) uint8. size: (H, W) in pixels. Pixel i of n takes floor((2i + 1) m / 2n) of m, in integers.
    Returns: (H, W) uint8. Raises ValueError for another shape or dtype, or an empty one.
    """
    if numbers.dtype != np.uint8 or numbers.ndim != 2 or numbers.size == 0 or min(size) < 1:
        raise ValueError(f"class numbers are (h, w) uint8, got {numbers.shape} of {numbers.dtype} for {size}")
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, numbers.shape))  # noqa: B905
    resized: Labels = numbers[rows[:, None], columns]
    return resized
