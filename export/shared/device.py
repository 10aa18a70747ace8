"""What run.py does with a bundle, whichever target it is of. Needs Python, numpy, and Pillow or OpenCV."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

SCHEMA_VERSION = 2
# Executed, so they have to be among the files that were compared.
PROCESSING, NETWORK = "processing.py", "network.py"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# Of the worst golden frame against PyTorch at the same precision. For float32 as the certificate's gate: other
# processors round sums in another order, which moves single edge pixels. For int8 as the certificate's gate on the
# worst image: in onnxruntime, OpenVINO and LiteRT int8 networks that hold their certificates reach 0.998 on golden
# frames, and of those with ranges alone, not trained (0.93 to 0.99), none holds its certificate.
LEAST_DICE = {"fp32": 0.999, "fp16": 0.99, "int8": 0.95}
OUTLINE_RGB = (0, 255, 0)
# What Pillow raises on damaged files; AttributeError, IndexError and KeyError come from broken TIFF tags.
DECODE_ERRORS = (
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
)


class Failure(Exception):
    """A message for the user, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """What of the manifest a prediction needs.

    files: names of those that are as the manifest says. size: (height, width) in pixels. dtype: of the model file's
    input, as processing.py's to_input gives it. kind: "logits", "probabilities" or "mask". classes: 1, or with the
    background. dynamic: whether the network takes other sizes too. precision: "fp32", "fp16" or "int8".
    """

    model: Path
    files: frozenset[str]
    size: tuple[int, int]
    channels: int
    dtype: str
    threshold: float
    kind: str
    classes: int
    dynamic: bool
    precision: str


# From a frame (1, channels, h, w) of the settings' dtype to float32 (1, classes, h, w), or of a mask (1, 1, h, w)
# uint8. Raises Failure.
Network = Callable[[Any], Any]


def open_bundle(folder: Path) -> Settings:
    """Read the manifest and compare every file with it. Raises Failure naming the file that differs.

    What is opened or executed later has to be one of the files that were compared.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise Failure(
                f"manifest.json: has schema_version {manifest['schema_version']!r}, this run.py reads "
                f"{SCHEMA_VERSION}. Use the run.py that was exported with the bundle."
            )
        listed = [entry["name"] for entry in manifest["files"]]
        for name in listed:
            if not is_inside(name):
                raise Failure(f"manifest.json: lists {name!r}, which is no name inside the bundle. Copy it again.")
        for name in (manifest["model_file"], PROCESSING, NETWORK):
            if name not in listed:
                raise Failure(f"manifest.json: does not list {name!r}, so it is not used. Copy the bundle again.")
        for entry in manifest["files"]:
            data = (folder / entry["name"]).read_bytes()
            got = hashlib.sha256(data).hexdigest()
            if got != entry["sha256"]:
                raise Failure(
                    f"{entry['name']}: changed since the export: expected sha256 {entry['sha256']}, got {got}. Copy "
                    "the bundle again."
                )
        spec = manifest["input"]
        return Settings(
            folder / manifest["model_file"],
            frozenset(listed),
            (spec["height"], spec["width"]),
            spec["channels"],
            spec["dtype"],
            manifest["threshold"],
            manifest["output"]["kind"],
            manifest["output"]["classes"],
            spec["dynamic"],
            manifest["precision"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{folder}: not a whole bundle ({error!r}). Copy the bundle again.") from error


def is_inside(name: str) -> bool:
    """Whether a name is a plain path below the folder that it is relative to, on every system."""
    path = PurePosixPath(name)
    plain = not any(sign in name for sign in ("\\", ":", "\0"))
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts and str(path) == name


def load_sibling(settings: Settings, name: str) -> Any:
    """A file of the bundle as a module, whatever else of that name is installed.

    Raises Failure for one that was not compared with the manifest.
    """
    if name not in settings.files:
        raise Failure(f"manifest.json: does not list {name!r}, so it is not used. Copy the bundle again.")
    spec = importlib.util.spec_from_file_location(f"bundle_{Path(name).stem}", settings.model.parent / name)
    if spec is None or spec.loader is None:
        raise Failure(f"{name}: cannot be loaded. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Model:
    """The network between its pre- and post-processing. processing: the bundle's processing.py."""

    def __init__(self, settings: Settings, processing: Any, network: Network) -> None:
        self.settings = settings
        self.processing = processing
        self.network = network

    def infer(self, frame: Any) -> Any:
        """frame: (H, W, 3) uint8 RGB -> (1, classes, h, w) float32 probabilities at the network's size, or of a mask
        (1, 1, h, w) uint8 class numbers.

        Raises ValueError for what cannot be processed, as the others do.
        """
        tools, settings = self.processing, self.settings
        output = self.network(tools.to_input(frame, settings.size, channels=settings.channels, dtype=settings.dtype))
        if settings.kind == "mask":
            return output
        return tools.probabilities(output) if settings.kind == "logits" else tools.checked_probabilities(output)

    def predict(self, frame: Any) -> Any:
        """(H, W) float32: probability of anything but background. Not for a network that gives masks."""
        return self.processing.prob_to_size(self.processing.foreground(self.infer(frame))[0], frame.shape[:2])

    def labels(self, frame: Any) -> Any:
        """(H, W) uint8: 0 for background, 1 or the number of the class."""
        import numpy as np

        tools, output = self.processing, self.infer(frame)
        if self.settings.kind == "mask":
            return tools.labels_to_size(output[0, 0], frame.shape[:2])
        classes = [tools.prob_to_size(p, frame.shape[:2]) for p in output[0]]
        return tools.labels(np.stack(classes), self.settings.threshold)

    def picture(self, labels: Any) -> Any:
        """Labels as they are written: 0 and 255 for one class, else the numbers of the classes."""
        return labels if self.settings.classes > 1 else labels * 255


def read_image(path: Path) -> Any:
    """An image as (H, W, 3) uint8 RGB. 16-bit samples keep their high byte, transparency is put on black.

    Raises Failure for a file that cannot be read.
    """
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ImportError:
        return _read_with_opencv(path)
    try:
        with Image.open(path) as file:
            file.load()
            picture = ImageOps.exif_transpose(file)
            if picture.mode == "F":
                raise Failure(
                    f"{path}: floating point samples have no defined range; save it with 8 or 16 bits a sample"
                )
            if picture.mode.startswith("I"):
                wide = np.asarray(picture).astype(np.int64)
                if wide.min() < 0 or wide.max() > 65535:
                    raise Failure(f"{path}: 32-bit samples; wanted 8 or 16 bits a sample")
                return np.repeat((wide >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
            if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
                rgba = np.asarray(picture.convert("RGBA")).astype(np.uint32)
                return ((rgba[:, :, :3] * rgba[:, :, 3:] + 127) // 255).astype(np.uint8)
            return np.asarray(picture.convert("RGB"))
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise Failure(f"{path}: not an image that can be read ({error})") from error


def _read_with_opencv(path: Path) -> Any:
    """As `read_image`, which Pillow does better: OpenCV turns no transparent image upright, so those are refused."""
    import numpy as np

    try:
        import cv2
    except ImportError as error:
        raise Failure("neither Pillow nor OpenCV is installed: pip install pillow", 4) from error
    upright, stored = (cv2.imread(str(path), flag) for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED))
    if upright is None or stored is None:
        raise Failure(f"{path}: not an image that can be read")
    if stored.ndim == 2 or stored.shape[2] != 4:
        return upright[:, :, ::-1].copy()
    pixels = stored.astype(np.uint32) >> (8 if stored.dtype == np.uint16 else 0)
    if not np.array_equal(pixels[:, :, :3], upright):
        raise Failure(f"{path}: a transparent image that is stored turned needs Pillow: pip install pillow", 4)
    return ((pixels[:, :, 2::-1] * pixels[:, :, 3:] + 127) // 255).astype(np.uint8)


def read_samples(path: Path) -> Any:
    """An 8-bit or 16-bit grey PNG as (H, W) of its own samples."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError:
        import cv2

        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    with Image.open(path) as file:
        return np.asarray(file)


def write_image(path: Path, pixels: Any) -> None:
    """(H, W) or (H, W, 3) uint8 RGB as PNG, under a temporary name until it is whole."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.png")
    try:
        try:
            from PIL import Image
        except ImportError:
            import cv2

            if not cv2.imwrite(str(temporary), pixels if pixels.ndim == 2 else pixels[:, :, ::-1]):
                raise Failure(f"{path}: cannot be written") from None
        else:
            Image.fromarray(pixels).save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def overlay(frame: Any, mask: Any) -> Any:
    """The frame with the mask's outline, two pixels wide. frame: (H, W, 3) uint8. mask: (H, W) bool."""
    import numpy as np

    padded = np.pad(mask, 2)
    height, width = mask.shape
    inner = mask.copy()
    for dy, dx in ((-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        inner &= padded[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
    shown = frame.copy()
    shown[mask & ~inner] = OUTLINE_RGB
    return shown


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Files as given, folders by the images in them. Raises Failure for a missing path or a folder without images."""
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not inside:
                raise Failure(f"{path}: no images in this folder; wanted {', '.join(SUFFIXES)}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise Failure(f"{path}: no such file or folder")
    return found


def plan_outputs(images: Sequence[Path], out: Path, *, overwrite: bool) -> list[tuple[Path, Path]]:
    """Mask and overlay of each image. Raises Failure where two images share a name or a file would be overwritten."""
    stems = Counter(p.stem for p in images)
    names = [p.name if stems[p.stem] > 1 else p.stem for p in images]
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise Failure(f"several images are called {doubled[0]}: run them one folder at a time")
    planned = [(out / f"{n}_mask.png", out / f"{n}_overlay.png") for n in names]
    standing = [p for pair in planned for p in pair if p.exists()]
    if standing and not overwrite:
        raise Failure(f"{standing[0]}: exists already; choose another --out or give --overwrite")
    return planned


def segment(model: Model, images: Sequence[Path], outputs: Sequence[tuple[Path, Path]]) -> int:
    """Predict and write each image; one that cannot be read is told and the rest go on. Returns: the exit code."""
    code = 0
    print("image\tlatency_ms\tarea_px\tarea_percent")
    for path, (mask_path, overlay_path) in zip(images, outputs):  # noqa: B905  (Python 3.9 on devices has no strict)
        try:
            frame = read_image(path)
            start = time.perf_counter()
            labels = model.labels(frame)
            latency_ms = (time.perf_counter() - start) * 1e3
        except (Failure, ValueError) as error:
            message = str(error) if isinstance(error, Failure) else f"{path}: {error}"
            print(f"error: {message}", file=sys.stderr)
            code = max(code, getattr(error, "code", 2))
            continue
        mask = labels != 0
        write_image(mask_path, model.picture(labels))
        write_image(overlay_path, overlay(frame, mask))
        print(f"{path.name}\t{latency_ms:.1f}\t{int(mask.sum())}\t{100 * mask.mean():.2f}")
    return code


def mean_dice(ours: Any, theirs: Any) -> float:
    """Mean Dice over the classes of either mask but 0; 1.0 where both hold nothing else. Both: (H, W) uint8."""
    import numpy as np

    scores = []
    for value in {*np.unique(ours).tolist(), *np.unique(theirs).tolist()} - {0}:
        a, b = ours == value, theirs == value
        scores.append(2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum())))
    return sum(scores) / len(scores) if scores else 1.0


def check(model: Model, folder: Path) -> int:
    """Compare the golden frames' masks with the expected ones. Returns: 0, or 3 where one differs too much."""
    frames = sorted(folder.glob("*.frame.png"))
    if not frames:
        raise Failure(f"{folder}: no golden frames. Copy the bundle again.")
    worst = 1.0
    print("frame\tmask_dice\tlargest_probability_difference")
    for path in frames:
        stem = path.name[: -len(".frame.png")]
        frame = read_image(path)
        difference = "none"
        if model.settings.kind != "mask":
            expected = read_samples(folder / f"{stem}.probability.png").astype("float32") / 65535
            difference = f"{abs(model.predict(frame) - expected).max():.6f}"
        dice = mean_dice(model.picture(model.labels(frame)), read_samples(folder / f"{stem}.mask.png"))
        worst = min(worst, dice)
        print(f"{stem}\t{dice:.5f}\t{difference}")
    least = LEAST_DICE[model.settings.precision]
    if worst < least:
        print(f"error: mask Dice {worst:.5f}, wanted at least {least}: not the same masks here", file=sys.stderr)
        return 3
    return 0
