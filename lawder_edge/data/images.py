"""Decoding of image and mask files through Pillow, so that every machine sees the same pixels.

Rules, the same for images and masks:

- EXIF orientation is applied, as viewers, annotation tools and OpenCV do: masks are drawn on what a viewer shows.
- Transparency is composited on black: endoscope frames with cut corners get the black corners that others have, and
  masks exported on a transparent ground get a background of 0.
- 16-bit samples keep their high byte (v >> 8), the full range of the type, never the range of one file: a series of
  frames must not change brightness because one of them holds a highlight. 12-bit data in 16-bit files therefore comes
  out dark (`data check` tells); scale it before.
- CMYK and other colour spaces are converted to RGB without ICC profiles.
- Of a file with several frames the first is read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lawder_edge.errors import BadImage

MASK_THRESHOLD = 128

# What Pillow's decoders raise on damaged files; AttributeError, IndexError and KeyError come from broken TIFF tags.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_EXIF_ORIENTATION = 0x0112
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class MaskFile:
    """A decoded mask.

    Attributes:
        labels: (H, W) uint8. Binary: 0 background, 1 foreground. Several classes: the class number.
        notes: what had to be interpreted (threshold, colours, odd values), one sentence each; empty for a clean file.
    """

    labels: NDArray[np.uint8]
    notes: tuple[str, ...]


def read_image(path: Path, *, channels: int = 3) -> NDArray[np.uint8]:
    """Decode an image file.

    Args:
        path: 8-bit or 16-bit grey, RGB, palette, CMYK, with or without alpha; any format that Pillow reads.
        channels: 3 for RGB (grey is repeated), 1 for grey (colour becomes the luma that bundles compute).

    Returns:
        (H, W, channels) uint8 in [0, 255], RGB order, C-contiguous.

    Raises:
        BadImage: the file is missing, empty, truncated, not an image, or of a sample type without a defined range.
    """
    if channels not in (1, 3):
        raise BadImage(f"{path}: asked for {channels} channels; 1 (grey) or 3 (RGB) can be read")
    picture = _decode(path)
    if picture.mode in _WIDE_MODES:
        grey = _high_byte(picture, path)
        return np.repeat(grey[:, :, None], channels, axis=2)
    shown = _on_black(picture, path)
    if channels == 3:
        return _array(shown.convert("RGB"))
    if shown.mode == "L":
        return _array(shown)[:, :, None]
    from lawder_edge.bundle.processing import grey as luma

    # The network was trained on what is computed here and gets what the bundle computes: one luma for both.
    return luma(_array(shown))[:, :, None]


def read_mask(path: Path, *, num_classes: int = 1) -> MaskFile:
    """Decode a mask file.

    With `num_classes` 1 a mask is read as foreground against background:

    - grey, a value of 128 or more somewhere (or a JPEG): foreground is v >= 128; values other than black and white are
      told in the notes (JPEG noise, soft edges);
    - grey, lossless, all below 128 (0/1 masks, label maps): every non-zero value is foreground, told if above 1;
    - colours: the brightest of R, G, B stands for the pixel, told. Luminance would lose pure red (76) and blue (29);
    - palette with colours: every index but 0 is foreground.

    With more classes (background counts as one) pixels are class numbers: grey values or palette indices. With exactly
    2 classes a pure 0/255 mask is read as 0/1.

    Args:
        path: grey, palette, RGB, 1-bit or 16-bit mask file.
        num_classes: 1 for foreground/background, otherwise the number of classes with the background.

    Returns:
        MaskFile with labels (H, W) uint8 below max(num_classes, 2).

    Raises:
        BadImage: unreadable as in `read_image`; a class number of `num_classes` or more; colours where class numbers
            are wanted.
    """
    if not 1 <= num_classes <= 256:
        raise BadImage(f"{path}: asked for {num_classes} classes; 1 to 256 can be read")
    picture = _decode(path)
    lossy = getattr(picture, "format", None) in ("JPEG", "MPO", "WEBP")
    if num_classes == 1:
        return _binary(picture, path, lossy=lossy)
    return _classes(picture, path, num_classes)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels from the header alone, EXIF orientation applied.

    Raises:
        BadImage: the file is missing, empty or not an image. Truncated pixel data is not noticed here.
    """
    with _named_errors(path), Image.open(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def bit_depth_hint(path: Path) -> int | None:
    """Bits that the largest sample of a 16-bit grey file needs (1 to 16); None for other files.

    Raises:
        BadImage: as in `read_image`.
    """
    picture = _decode(path)
    if picture.mode not in _WIDE_MODES:
        return None
    return max(1, int(_wide(picture, path).max()).bit_length())


class _named_errors:  # noqa: N801  (a context manager reads as a function)
    """Turn whatever a decoder raises into a BadImage that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _DECODE_ERRORS):
            raise BadImage(_what_is_wrong(self._path, error)) from error


def _what_is_wrong(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file"
    if isinstance(error, PermissionError | IsADirectoryError):
        return f"{path}: cannot be opened ({error.strerror})"
    if path.stat().st_size == 0:
        return f"{path}: the file is empty (0 bytes); copy it again from its source, or leave it out with --skip-bad"
    if isinstance(error, UnidentifiedImageError):
        return (
            f"{path}: not an image that can be read; wanted PNG, JPEG, TIFF, BMP or WebP. Remove it or use --skip-bad"
        )
    if isinstance(error, Image.DecompressionBombError):
        return f"{path}: {error}; scale the image down first"
    return (
        f"{path}: truncated or damaged image ({error}); copy it again from its source, or leave it out with --skip-bad"
    )


def _decode(path: Path) -> Image.Image:
    """The first frame with its pixels loaded and its orientation applied."""
    with _named_errors(path), Image.open(path) as picture:
        picture.load()
        file_format = picture.format
        upright = ImageOps.exif_transpose(picture)
    upright.format = file_format
    if upright.mode == "F":
        raise BadImage(
            f"{path}: floating point samples have no defined range; save the file with 8 or 16 bits a sample"
        )
    return upright


def _array(picture: Image.Image) -> NDArray[np.uint8]:
    return np.array(picture, dtype=np.uint8, order="C")


def _wide(picture: Image.Image, path: Path) -> NDArray[np.uint16]:
    """Samples of a 16-bit (or 32-bit integer) grey picture: (H, W) uint16."""
    samples = np.asarray(picture)
    if samples.size and (int(samples.min()) < 0 or int(samples.max()) > 65535):
        raise BadImage(
            f"{path}: 32-bit samples from {samples.min()} to {samples.max()}; wanted 8 or 16 bits (0 to 65535). "
            "Scale the file first"
        )
    return samples.astype(np.uint16)


def _high_byte(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    return (_wide(picture, path) >> 8).astype(np.uint8)


def _on_black(picture: Image.Image, path: Path) -> Image.Image:
    """As RGB (grey stays grey); alpha, be it a channel or a transparent palette index, is composited on black."""
    try:
        if not (picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info):
            return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        rgba = _array(picture.convert("RGBA")).astype(np.uint32)
    except ValueError as error:
        raise BadImage(
            f"{path}: colour mode {picture.mode} cannot be converted ({error}); save the file as RGB or grey"
        ) from error
    return Image.fromarray(((rgba[:, :, :3] * rgba[:, :, 3:] + 127) // 255).astype(np.uint8))


def _binary(picture: Image.Image, path: Path, *, lossy: bool) -> MaskFile:
    notes: list[str] = []
    if picture.mode in _WIDE_MODES:
        wide = _wide(picture, path)
        values = (wide >> 8 if wide.size and wide.max() > 255 else wide).astype(np.uint8)
    elif picture.mode == "P" and not _grey_palette(picture):
        indices = _array(picture)
        return MaskFile((indices != 0).astype(np.uint8), _many_values_note(indices))
    elif picture.mode in ("1", "L"):
        values = _array(picture.convert("L"))
    else:
        rgb = _array(_on_black(picture, path))
        values = rgb.max(axis=2)
        coloured = int(np.count_nonzero(values != rgb.min(axis=2)))
        if coloured:
            notes.append(
                f"colours in {_share(coloured, values.size)} of the mask; brightest channel >= 128 is foreground"
            )
    if not lossy and values.size and int(values.max()) < MASK_THRESHOLD:
        return MaskFile((values != 0).astype(np.uint8), (*notes, *_many_values_note(values)))
    between = int(np.count_nonzero((values != 0) & (values != 255)))
    if between:
        notes.append(
            f"{_share(between, values.size)} of the mask are neither 0 nor 255; thresholded at {MASK_THRESHOLD}"
        )
    return MaskFile((values >= MASK_THRESHOLD).astype(np.uint8), tuple(notes))


def _many_values_note(values: NDArray[np.uint8]) -> tuple[str, ...]:
    highest = int(values.max()) if values.size else 0
    return (f"values up to {highest}: every non-zero value is foreground",) if highest > 1 else ()


def _share(count: int, total: int) -> str:
    return f"{count} pixels ({100 * count / total:.3g} %)"


def _grey_palette(picture: Image.Image) -> bool:
    """Whether every colour in use is a grey, and they differ: then colours mean more than indices."""
    used = np.unique(_array(picture))
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    if used.size == 0 or int(used.max()) >= len(palette):
        return False
    colours = palette[used]
    return bool((colours == colours[:, :1]).all()) and len(np.unique(colours[:, 0])) == len(used)


def _classes(picture: Image.Image, path: Path, num_classes: int) -> MaskFile:
    if picture.mode in _WIDE_MODES:
        values = _wide(picture, path)
    elif picture.mode in ("P", "L"):
        values = np.asarray(picture).astype(np.uint16)
    elif picture.mode == "1":
        values = np.asarray(picture).astype(np.uint16) * 255
    else:
        rgb = _array(_on_black(picture, path))
        if (rgb != rgb[:, :, :1]).any():
            raise BadImage(
                f"{path}: a mask in colours where {num_classes} classes are wanted; colours carry no class number. "
                "Save it as a grey or palette PNG whose pixel values are the classes 0, 1, 2, ..."
            )
        values = rgb[:, :, 0].astype(np.uint16)
    if num_classes == 2 and set(np.unique(values).tolist()) <= {0, 255}:
        return MaskFile((values == 255).astype(np.uint8), ())
    highest = int(values.max()) if values.size else 0
    if highest >= num_classes:
        raise BadImage(
            f"{path}: class number {highest} in the mask, but {num_classes} classes (0 to {num_classes - 1}, with the "
            "background) were asked for; give the right number of classes or correct the mask"
        )
    return MaskFile(values.astype(np.uint8), ())
