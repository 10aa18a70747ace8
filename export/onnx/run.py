"""Segment images with this bundle, on a device that has Python, numpy, onnxruntime, and Pillow or OpenCV.

    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad input, 3 the check failed, 4 a package is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# As the certificate's gate for float32: other processors round sums in another order, which moves single edge pixels.
LEAST_DICE = 0.999
OUTLINE_RGB = (0, 255, 0)


class Failure(Exception):
    """A message for the user, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """What of the manifest a prediction needs. size: (height, width) in pixels. kind: "logits" or "probabilities"."""

    model: Path
    size: tuple[int, int]
    channels: int
    threshold: float
    kind: str


def open_bundle(folder: Path) -> Settings:
    """Read the manifest and compare every file with it. Raises Failure naming the file that differs."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
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
            (spec["height"], spec["width"]),
            spec["channels"],
            manifest["threshold"],
            manifest["output"]["kind"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{folder}: not a whole bundle ({error!r}). Copy the bundle again.") from error


def load_processing(folder: Path) -> Any:
    """The bundle's processing.py, whatever else of that name is installed."""
    spec = importlib.util.spec_from_file_location("processing", folder / "processing.py")
    if spec is None or spec.loader is None:
        raise Failure(f"{folder / 'processing.py'}: cannot be loaded. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Model:
    """The network between its pre- and post-processing."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self.settings = open_bundle(folder)
        try:
            import onnxruntime

            self.processing = load_processing(folder)
        except ImportError as error:
            raise Failure(f"{error.name} is missing: pip install numpy onnxruntime pillow", 4) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(self.settings.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's error classes share no other base
            raise Failure(
                f"{self.settings.model.name}: onnxruntime {onnxruntime.__version__} refuses it ({error}). Update "
                "onnxruntime."
            ) from error
        self.input_name = self.session.get_inputs()[0].name

    def predict(self, frame: Any) -> Any:
        """frame: (H, W, 3) uint8 RGB -> (H, W) float32 probability. Raises ValueError for what cannot be processed."""
        tools, settings = self.processing, self.settings
        tensor = tools.to_tensor(frame, settings.size, channels=settings.channels)
        output = self.session.run(None, {self.input_name: tensor})[0]
        probability = tools.probabilities(output) if settings.kind == "logits" else output
        return tools.prob_to_size(tools.foreground(probability)[0], frame.shape[:2])

    def mask(self, probability: Any) -> Any:
        """(H, W) probability -> (H, W) bool."""
        return self.processing.to_mask(probability, self.settings.threshold)


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
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I"):
                grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
                rgba = np.asarray(picture.convert("RGBA")).astype(np.uint32)
                return ((rgba[:, :, :3] * rgba[:, :, 3:] + 127) // 255).astype(np.uint8)
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Failure(f"{path}: not an image that can be read ({error})") from error


def _read_with_opencv(path: Path) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise Failure("neither Pillow nor OpenCV is installed: pip install pillow", 4) from error
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise Failure(f"{path}: not an image that can be read")
    return picture[:, :, ::-1].copy()


def read_wide(path: Path) -> Any:
    """A 16-bit grey PNG as (H, W) uint16."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError:
        import cv2

        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    with Image.open(path) as file:
        return np.asarray(file).astype(np.uint16)


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
    stems = [p.stem for p in images]
    names = [p.name if stems.count(p.stem) > 1 else p.stem for p in images]
    doubled = sorted({n for n in names if names.count(n) > 1})
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
            mask = model.mask(model.predict(frame))
            latency_ms = (time.perf_counter() - start) * 1e3
        except (Failure, ValueError) as error:
            message = str(error) if isinstance(error, Failure) else f"{path}: {error}"
            print(f"error: {message}", file=sys.stderr)
            code = max(code, getattr(error, "code", 2))
            continue
        write_image(mask_path, mask.astype("uint8") * 255)
        write_image(overlay_path, overlay(frame, mask))
        print(f"{path.name}\t{latency_ms:.1f}\t{int(mask.sum())}\t{100 * mask.mean():.2f}")
    return code


def check(model: Model, folder: Path) -> int:
    """Compare the golden frames' masks with the expected ones. Returns: 0, or 3 where one differs too much."""
    frames = sorted(folder.glob("*.frame.png"))
    if not frames:
        raise Failure(f"{folder}: no golden frames. Copy the bundle again.")
    worst = 1.0
    print("frame\tmask_dice\tlargest_probability_difference")
    for path in frames:
        stem = path.name[: -len(".frame.png")]
        probability = model.predict(read_image(path))
        expected = read_wide(folder / f"{stem}.probability.png").astype("float32") / 65535
        ours, theirs = model.mask(probability), model.mask(expected)
        total = int(ours.sum()) + int(theirs.sum())
        dice = 2 * int((ours & theirs).sum()) / total if total else 1.0
        worst = min(worst, dice)
        print(f"{stem}\t{dice:.5f}\t{abs(probability - expected).max():.6f}")
    if worst < LEAST_DICE:
        print(f"error: mask Dice {worst:.5f}, wanted at least {LEAST_DICE}: not the same masks here", file=sys.stderr)
        return 3
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="run.py"
    )
    parser.add_argument("images", nargs="*", type=Path, help="image files or folders")
    parser.add_argument("--out", type=Path, help="folder for masks and overlays")
    parser.add_argument("--overwrite", action="store_true", help="replace masks and overlays that exist")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--check", action="store_true", help="run the golden frames instead of images")
    options = parser.parse_args(argv)
    if not options.check and (not options.images or options.out is None):
        parser.error("give images and --out DIR, or --check")
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    try:
        if options.check:
            return check(Model(HERE, threads=options.threads), HERE / "golden")
        images = find_images(options.images)
        outputs = plan_outputs(images, options.out, overwrite=options.overwrite)
        model = Model(HERE, threads=options.threads)
        options.out.mkdir(parents=True, exist_ok=True)
        return segment(model, images, outputs)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    # A cache folder would be a file that the manifest does not list.
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
