from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawder_edge.data import phantom_files
from lawder_edge.data.datasets import find_samples
from lawder_edge.data.load import load_pair
from lawder_edge.data.phantom import AREA_RANGE, PhantomFrame, make_frame, make_scene
from lawder_edge.data.phantom_files import write_phantom_dataset
from lawder_edge.errors import BadInput, OutputExists


def frame(
    seed: int, *, size: tuple[int, int] = (96, 96), area: float | None = None, polyp: bool = True
) -> PhantomFrame:
    return make_frame(np.random.default_rng(seed), size=size, area=area, polyp=polyp)


def fingerprint(f: PhantomFrame) -> str:
    return hashlib.sha256(f.image.tobytes() + f.mask.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones() -> None:
    assert fingerprint(frame(1)) == fingerprint(frame(1))
    assert fingerprint(frame(1)) != fingerprint(frame(2))


def test_the_number_of_threads_does_not_change_a_byte() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = fingerprint(frame(4, size=(256, 256)))
        cv2.setNumThreads(4)
        assert fingerprint(frame(4, size=(256, 256))) == one
    finally:
        cv2.setNumThreads(threads)


def test_a_frame_of_a_dataset_depends_on_its_place_and_not_on_the_number_of_frames(tmp_path: Path) -> None:
    few, many = (write_phantom_dataset(tmp_path / str(n), n=n, size=(64, 64), seed=3) for n in (2, 4))
    first, all_four = ([p.read_bytes() for p in sorted((out / "images").iterdir())] for out in (few, many))

    assert first == all_four[:2]
    assert len(set(all_four)) == 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), area=st.floats(0.002, 0.5), width=st.integers(32, 150))
def test_the_polyp_covers_the_area_asked_for_to_the_pixel(seed: int, area: float, width: int) -> None:
    f = frame(seed, size=(72, width), area=area)

    assert f.image.shape == (72, width, 3)
    assert f.image.dtype == f.mask.dtype == np.uint8
    assert int(f.mask.sum()) == round(area * 72 * width)
    assert set(np.unique(f.mask)) <= {0, 1}


def test_areas_drawn_by_chance_stay_in_their_range() -> None:
    areas = [f.mask.mean() for f in (frame(seed, size=(64, 64)) for seed in range(30))]

    assert AREA_RANGE[0] * 0.95 <= min(areas) < 0.03
    assert 0.15 < max(areas) <= AREA_RANGE[1] * 1.05


def test_a_frame_without_polyp_is_the_same_scene_with_an_empty_mask() -> None:
    with_polyp, without = frame(5, area=0.04), frame(5, polyp=False)
    far = cv2.dilate(with_polyp.mask, np.ones((41, 41), np.uint8)) == 0

    assert not without.mask.any()
    assert far.mean() > 0.3
    assert np.abs(with_polyp.image[far].astype(int) - without.image[far]).max() <= 2
    assert (with_polyp.image != without.image).any()


@pytest.mark.parametrize("seed", range(8))
def test_the_mask_is_where_the_polyp_is_seen(seed: int) -> None:
    with_polyp, without = frame(seed, size=(192, 192), area=0.06), frame(seed, size=(192, 192), polyp=False)
    changed = np.abs(with_polyp.image.astype(int) - without.image).max(axis=2)
    inside = cv2.erode(with_polyp.mask, np.ones((5, 5), np.uint8)) > 0

    # Outside there is only its shadow, which fades with distance.
    assert changed[inside].mean() > 3 * changed[with_polyp.mask == 0].mean()


@pytest.mark.parametrize("seed", range(6))
def test_the_polyp_is_in_view_and_lit(seed: int) -> None:
    f = frame(seed, size=(128, 128), area=0.05)

    assert (f.image[f.mask > 0].max(axis=1) > 40).mean() > 0.95


def test_frames_have_what_an_endoscopy_image_has() -> None:
    frames = [frame(seed, size=(128, 128)) for seed in range(24)]
    images = np.stack([f.image for f in frames]).astype(int)
    lit = images.max(axis=3) > 60

    # Mucosa is red over green over blue, nearly everywhere; borders and lumen are dark; wet spots are white.
    assert (images[..., 0][lit] >= images[..., 1][lit]).mean() > 0.95
    assert (images[..., 1][lit] >= images[..., 2][lit] - 12).mean() > 0.9
    dark = (images.max(axis=3) < 40).mean(axis=(1, 2))
    assert np.median(dark) > 0.05
    assert ((images.min(axis=3) > 225).any(axis=(1, 2))).mean() > 0.6


@pytest.mark.parametrize("size", [(32, 32), (33, 320), (352, 352), (288, 384)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    f = frame(0, size=size)

    assert f.image.shape == (*size, 3)
    assert f.image.std() > 10


@pytest.mark.parametrize(
    ("size", "area", "message"),
    [
        ((31, 64), None, "31 x 64"),
        ((64, 64), 0.6, "area is 0.6"),
        ((64, 64), 0.0, "area is 0"),
        ((64, 64), 1e-5, "pixel"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused(size: tuple[int, int], area: float | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        frame(0, size=size, area=area)


def test_the_written_dataset_is_read_back_as_the_frames_that_were_drawn(tmp_path: Path) -> None:
    out = write_phantom_dataset(tmp_path / "phantom", n=3, size=(64, 80), seed=7)
    pairs = [load_pair(s) for s in find_samples(out)]

    assert len(pairs) == 3
    for i, pair in enumerate(pairs):
        drawn = make_frame(np.random.default_rng([7, i]), size=(64, 80))
        np.testing.assert_array_equal(pair.image, drawn.image)
        np.testing.assert_array_equal(pair.labels, drawn.mask)
        assert pair.notes == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phantom"]


def test_a_dataset_without_polyps_has_empty_masks_under_the_same_scenes(tmp_path: Path) -> None:
    out = write_phantom_dataset(tmp_path / "clean", n=2, size=(64, 64), polyp=False)
    pairs = [load_pair(s) for s in find_samples(out)]
    assert not any(pair.labels.any() for pair in pairs)
    scene = make_frame(np.random.default_rng([0, 1]), size=(64, 64), polyp=False)
    np.testing.assert_array_equal(pairs[1].image, scene.image)


def test_a_folder_that_stands_is_replaced_only_when_told(tmp_path: Path) -> None:
    out = write_phantom_dataset(tmp_path / "phantom", n=2, size=(32, 32))
    with pytest.raises(OutputExists, match="--overwrite"):
        write_phantom_dataset(out, n=1, size=(32, 32))

    write_phantom_dataset(out, n=1, size=(32, 32), overwrite=True)

    assert len(list((out / "images").iterdir())) == 1


@pytest.mark.parametrize(
    "foreign",
    [
        "phantom_head_ct.nii",
        "phantom_0_0000.png",
        "images/phantom_head_ct.nii",
        "images/phantom_0_0000.png.bak",
        "masks/phantom_0_1.png",
        "masks/phantom_x_0000.png",
        "notes/phantom_0_0000.png",
        "images/more/phantom_0_0000.png",
    ],
)
def test_a_folder_that_holds_anything_else_is_not_replaced(foreign: str, tmp_path: Path) -> None:
    out = write_phantom_dataset(tmp_path / "phantom", n=1, size=(32, 32))
    (out / foreign).parent.mkdir(exist_ok=True)
    (out / foreign).write_text("precious")
    with pytest.raises(OutputExists, match="is no phantom frame"):
        write_phantom_dataset(out, n=1, size=(32, 32), overwrite=True)
    assert (out / foreign).read_text() == "precious"


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "phantom_0_0000.png"
    file.write_text("precious")
    with pytest.raises(OutputExists, match="is no phantom frame"):
        write_phantom_dataset(file, n=1, size=(32, 32), overwrite=True)
    assert file.read_text() == "precious"


def test_frames_of_another_seed_and_number_are_replaced(tmp_path: Path) -> None:
    out = write_phantom_dataset(tmp_path / "phantom", n=1, size=(32, 32), seed=2**40)
    for folder in ("images", "masks"):
        (out / folder / "phantom_7_123456.png").touch()
    write_phantom_dataset(out, n=1, size=(32, 32), overwrite=True)
    assert [p.name for p in (out / "images").iterdir()] == ["phantom_0_0000.png"]


def test_a_seed_below_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="seed of a phantom dataset: got -1; wanted 0 or above"):
        write_phantom_dataset(tmp_path / "phantom", n=1, seed=-1)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_leaves_the_old_folder_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_phantom_dataset(tmp_path / "phantom", n=2, size=(32, 32))

    def full(path: Path, pixels: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(phantom_files, "write_png", full)
    with pytest.raises(OSError, match="No space left"):
        write_phantom_dataset(out, n=5, size=(32, 32), overwrite=True)

    assert len(list((out / "masks").iterdir())) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phantom"]


def test_a_dataset_of_no_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="0 frames"):
        write_phantom_dataset(tmp_path / "phantom", n=0)


def test_a_scenes_polyp_has_its_area_and_lies_where_it_was_asked_for() -> None:
    within = np.zeros((96, 200), bool)
    within[30:60, 30:60] = True
    scene = make_scene(np.random.default_rng(2), size=(96, 200), area=0.02, within=within)
    rows, columns = np.nonzero(scene.mask)

    assert scene.colour.shape == (96, 200, 3)
    assert scene.colour.dtype == scene.gleam.dtype == np.float32
    assert int(scene.mask.sum()) == round(0.02 * 96 * 200)
    assert 20 < rows.mean() < 70
    assert 20 < columns.mean() < 70
    assert not make_scene(np.random.default_rng(2), size=(96, 200), area=None).mask.any()


@pytest.mark.parametrize("wrong", [{"size": (20, 200)}, {"area": 0.7}, {"area": 0.0}, {"area": 1e-9}])
def test_a_scene_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        make_scene(np.random.default_rng(0), **{"size": (96, 200), "area": 0.02, **wrong})
