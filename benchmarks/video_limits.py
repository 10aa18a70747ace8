"""The limits of live video, on real images: what counts as unusable, whether text is found, whether masks are the same.

python benchmarks/video_limits.py --data DIR --model build/order/onnx > benchmarks/results/video_limits.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lawder_edge.bundle.processing import to_mask
from lawder_edge.data.images import read_image, read_mask
from lawder_edge.evaluation.metrics import dice
from lawder_edge.loading import Predictor, load_predictor
from lawder_edge.video.border import whole
from lawder_edge.video.frames import Frame, Image
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.text import find_text
from lawder_edge.video.usable import why_unusable

SIZE = (256, 256)
FOLDERS = (("kvasir-seg", 4), ("cvc-clinicdb", 3))


def blurred(image: Image, px: int) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), px), np.uint8)


def scaled(image: Image, size: tuple[int, int], how: int) -> Image:
    """size: (width, height) in pixels. how: one of OpenCV's interpolations."""
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


CHANGES: tuple[tuple[str, Callable[[Image], Image]], ...] = (
    ("as it is", lambda image: image),
    ("Gaussian blur, 2 px", lambda image: blurred(image, 2)),
    ("Gaussian blur, 3 px", lambda image: blurred(image, 3)),
    ("0.3 of its light", lambda image: (image * 0.3).astype(np.uint8)),
    ("0.15 of its light", lambda image: (image * 0.15).astype(np.uint8)),
    ("red and blue exchanged", lambda image: np.ascontiguousarray(image[..., ::-1])),
)
NAME = "DOE JANE 1961-02-03"
TEXT_SIDE = 480
LARGE = (1080, 1440)


def paths(data: Path, folder: str, step: int) -> list[Path]:
    return sorted((data / folder / "images").iterdir())[::step]


def print_usable(data: Path) -> None:
    print("## Pictures called unusable\n\nEvery fourth image of Kvasir-SEG, every third of ClinicDB, at 256x256.\n")
    print("| images | | of | dark | blurred | outside the body |\n|---|---|---|---|---|---|")
    for folder, step in FOLDERS:
        images = [scaled(read_image(p), SIZE, cv2.INTER_AREA) for p in paths(data, folder, step)]
        for name, change in CHANGES:
            found = Counter(why_unusable(change(image)).rpartition(": ")[2] for image in images)
            counts = " | ".join(str(found[why]) for why in ("dark", "blurred", "outside the body"))
            print(f"| {folder} | {name} | {len(images)} | {counts} |")


def print_text(data: Path) -> None:
    print(f"\n## Text found\n\n'{NAME}' at a place of its own on each image, at {TEXT_SIDE}x{TEXT_SIDE}, one look.\n")
    print("| images | of | with 9/10 of the letters covered | something found without text | of the area |")
    print("|---|---|---|---|---|")
    for folder, step in FOLDERS:
        covered, touched, area = [], 0, 0.0
        chosen = paths(data, folder, 2 * step)
        for i, path in enumerate(chosen):
            plain = scaled(read_image(path), (TEXT_SIDE, TEXT_SIDE), cv2.INTER_CUBIC)
            x, y = (int(v) for v in np.random.default_rng([0, i]).integers((30, 60), (200, 420)))
            image = plain.copy()
            cv2.putText(image, NAME, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1)
            covered.append(boxes(image)[(image != plain).any(axis=2)].mean())
            without = boxes(plain)
            touched += bool(without.any())
            area += without.mean()
        share = np.mean(np.array(covered) >= 0.9)
        print(f"| {folder} | {len(chosen)} | {share:.3f} | {touched} | {100 * area / len(chosen):.2f} % |")


def boxes(image: Image) -> np.ndarray:
    """Where text was found: (H, W) bool."""
    found = np.zeros(image.shape[:2], bool)
    for box in find_text(image):
        box.crop(found)[:] = True
    return found


def print_agreement(data: Path, predictor: Predictor) -> None:
    print("\n## The same mask as on a still\n")
    print(
        f"{predictor.name}, images enlarged to 1440x1080: masks of video, unsteadied and uncropped, and of `predict`.\n"
    )
    print("| images | of | the same to the pixel | mask Dice between the two, mean | worst | Dice with the truth |")
    print("|---|---|---|---|---|---|")
    segmenter = Segmenter("video", predictor.runner, threshold=predictor.threshold)
    for folder, step in FOLDERS:
        rows = []
        for path in paths(data, folder, 8 * step):
            image = scaled(read_image(path), LARGE[::-1], cv2.INTER_CUBIC)
            labels = read_mask(next((data / folder / "masks").glob(path.stem + ".*"))).labels
            truth = cv2.resize(labels, LARGE[::-1], interpolation=cv2.INTER_NEAREST)
            still = to_mask(predictor.runner.predict(image), predictor.threshold)
            found = segmenter.step(
                Frame(0, 0.0, image), whole(image), segmenter.shrink(image), at_s=0.0, pre_ms=0.0, threshold=None
            )
            video = found.mask > 0
            rows.append((np.array_equal(still, video), dice(still, video), dice(video, truth)))
        same, agreed, right = np.array(rows, float).T
        print(
            f"| {folder} | {len(rows)} | {int(same.sum())} | {agreed.mean():.4f} | {agreed.min():.4f} | "
            f"{right.mean():.4f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="order")
    given = parser.parse_args()
    predictor = load_predictor(given.model, threads=1)
    print("# The limits of live video\n")
    print("    python benchmarks/video_limits.py --data DIR --model build/order/onnx\n")
    print_usable(given.data)
    print_text(given.data)
    print_agreement(given.data, predictor)


if __name__ == "__main__":
    main()
