"""Masks that pictures are drawn for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from synth_samples import phantom_frames

from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.synthesis.mask_files import read_masks
from lawder_edge.synthesis.masks import (
    AugmentedMasks,
    GivenMasks,
    KnownMasks,
    MaskSource,
    ProceduralMasks,
    augmented,
)
from lawder_edge.synthesis.procedural import draw_mask
from lawder_edge.synthesis.shapes import (
    ANGLE,
    AREA,
    EDGE,
    PICTURE,
    ROUGHNESS,
    ROUNDNESS,
    X,
    Y,
    implausible,
    limits_of,
    measure_shapes,
)

SIDE = 64


def ellipse(centre: tuple[int, int], axes: tuple[int, int], angle_deg: float = 0, *, side: int = 256) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, centre, axes, angle_deg, 0, 360, 1, -1)
    return mask


@pytest.fixture(scope="module")
def known() -> KnownMasks:
    """60 phantom masks, of which some show two lesions."""
    labels = np.stack([f.mask for f in phantom_frames(60, side=SIDE)])
    for i in range(0, 60, 6):
        labels[i, 2 : 6 + i // 6, 2 : 8 + i // 4] = 1
    return KnownMasks(labels, tuple(f"phantom/{i}" for i in range(60)))


def sources(known: KnownMasks) -> list[MaskSource]:
    return [GivenMasks(known), AugmentedMasks(known), ProceduralMasks(measure_shapes(known.labels), size=SIDE)]


def _rng(index: int) -> np.random.Generator:
    return np.random.default_rng((0, index))


def test_the_numbers_of_an_ellipse_are_measured() -> None:
    shapes = measure_shapes(ellipse((100, 60), (40, 20), 30)[None])
    assert shapes.shape == (1, 8)
    row = shapes[0]
    assert row[AREA] == pytest.approx(np.pi * 40.5 * 20.5 / 256**2, rel=0.02)  # OpenCV draws half a pixel beyond
    assert (row[X], row[Y]) == pytest.approx((100.5 / 256, 60.5 / 256), abs=2e-3)
    assert row[ROUNDNESS] == pytest.approx(0.5, abs=0.02)
    assert row[ANGLE] == pytest.approx(np.pi / 6, abs=0.03)
    assert row[ROUGHNESS] < 0.03
    assert row[EDGE] == 0


def test_a_lesion_is_a_row_of_its_own_and_specks_are_none() -> None:
    mask = ellipse((60, 60), (30, 30)) | ellipse((180, 180), (20, 40))
    mask[0, 250] = 1
    shapes = measure_shapes(np.stack([np.zeros_like(mask), mask]))
    assert shapes[:, PICTURE].tolist() == [1, 1]
    assert shapes[:, AREA].min() > 0.02


def test_an_outline_with_waves_is_rougher_than_one_without() -> None:
    theta = np.linspace(0, 2 * np.pi, 200)
    outlines = []
    for depth in (0.0, 0.2):
        radius = 50 * np.exp(depth * np.cos(5 * theta))
        mask = np.zeros((256, 256), np.uint8)
        points = np.stack([128 + radius * np.cos(theta), 128 + radius * np.sin(theta)], 1)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
        outlines.append(measure_shapes(mask[None])[0, ROUGHNESS])
    assert outlines[1] == pytest.approx(0.2 / np.sqrt(2), abs=0.03)
    assert outlines[0] < 0.02


def test_a_line_of_one_pixel_has_finite_numbers() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[3, 4:20] = 1
    assert np.isfinite(measure_shapes(mask[None])).all()


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["given", "augmented", "procedural"])
def test_a_mask_depends_on_its_number_and_the_generator_alone(kind: int, known: KnownMasks) -> None:
    source = sources(known)[kind]
    first = [source.draw(i, rng=_rng(i)) for i in range(8)]
    again = [sources(known)[kind].draw(i, rng=_rng(i)) for i in reversed(range(8))][::-1]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.labels, b.labels)
        assert a.source == b.source
        assert a.labels.shape == (SIDE, SIDE)
        assert a.labels.any()
    assert len({a.labels.tobytes() for a in first}) == 8


@pytest.mark.parametrize("kind", [1, 2], ids=["augmented", "procedural"])
def test_no_drawn_mask_is_beyond_what_was_seen(kind: int, known: KnownMasks) -> None:
    limits = limits_of(measure_shapes(known.labels))
    source = sources(known)[kind]
    for i in range(200):
        assert implausible(source.draw(i, rng=_rng(i)).labels, limits) is None


def test_augmented_masks_take_each_given_one_once_and_a_few_of_them_from_everywhere(known: KnownMasks) -> None:
    source = AugmentedMasks(known)
    places = [int(source.draw(i, rng=_rng(i)).source.rsplit("/", 1)[1]) for i in range(60)]
    assert sorted(places) == list(range(60))
    assert {place // 20 for place in places[:12]} == {0, 1, 2}


def test_specks_of_the_annotator_are_no_lesions_of_a_mask_to_bend() -> None:
    labels = np.stack([ellipse((128, 128), (40, 30)), ellipse((120, 130), (30, 35)), np.zeros((256, 256), np.uint8)])
    labels[0, 10:12, 10:12] = labels[0, 240, 20:23] = 1
    labels[2, 5:7, 5:9] = 1  # nothing but a speck
    source = AugmentedMasks(KnownMasks(labels, ("p/0", "p/1", "p/2")))
    drawn = [source.draw(i, rng=_rng(i)) for i in range(8)]
    assert {mask.source for mask in drawn} == {"augmented p/0", "augmented p/1"}
    with pytest.raises(BadDataset, match="specks at 256 px"):
        AugmentedMasks(KnownMasks(labels[2:], ("p/2",)))


def test_procedural_masks_have_the_areas_places_and_numbers_of_the_training_set(known: KnownMasks) -> None:
    shapes = measure_shapes(known.labels)
    source = ProceduralMasks(shapes, size=SIDE)
    drawn = measure_shapes(np.stack([source.draw(i, rng=_rng(i)).labels for i in range(1500)]))
    for column, tolerance in ((AREA, 0.1), (X, 0.1), (ROUNDNESS, 0.12)):
        # The largest distance between the two distribution functions; mirrored places count once.
        ours, theirs = (np.abs(t[:, column] - 0.5) if column == X else t[:, column] for t in (drawn, shapes))
        at = np.sort(np.concatenate([ours, theirs]))
        distance = np.abs(
            np.searchsorted(np.sort(ours), at, "right") / len(ours)
            - np.searchsorted(np.sort(theirs), at, "right") / len(theirs)
        ).max()
        assert distance < tolerance, f"column {column}"
    several = [(np.unique(t[:, PICTURE], return_counts=True)[1] > 1).mean() for t in (drawn, shapes)]
    assert several[0] == pytest.approx(several[1], abs=0.08)


def test_a_drawn_lesion_has_the_area_asked_for_where_there_is_room() -> None:
    shapes = measure_shapes(ellipse((128, 128), (50, 40))[None])
    shares = [draw_mask(shapes, 128, rng=_rng(i)).mean() / shapes[0, AREA] for i in range(100)]
    assert np.exp(np.mean(np.log(shares))) == pytest.approx(1, abs=0.05)
    assert np.std(np.log(shares)) == pytest.approx(0.15, abs=0.04)


def test_augmentation_moves_every_class_together_and_changes_the_outline() -> None:
    labels = ellipse((128, 128), (60, 60)) + ellipse((128, 128), (30, 30))
    for i in range(20):
        moved = augmented(labels, rng=_rng(i))
        assert set(np.unique(moved)) == {0, 1, 2}
        # The inner class stays inside the outer.
        assert not (cv2.dilate((moved == 2).astype(np.uint8), np.ones((3, 3), np.uint8)) * (moved == 0)).any()
        assert 0.4 < moved.astype(bool).mean() / labels.astype(bool).mean() < 2.2


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((SIDE, SIDE), np.uint8), "0.00% of the picture"),
        (np.ones((SIDE, SIDE), np.uint8), "100.00% of the picture"),
        (np.kron(np.eye(4, dtype=np.uint8), np.pad(np.ones((8, 8), np.uint8), 4)), "4 lesions, wanted at most 2"),
        (np.pad(np.ones((6, SIDE), np.uint8), ((0, SIDE - 6), (0, 0))), "of the picture's edge"),
    ],
    ids=["empty", "full", "many", "along the edge"],
)
def test_what_is_unlike_the_training_masks_is_told(mask: np.ndarray, told: str, known: KnownMasks) -> None:
    assert told in (implausible(mask, limits_of(measure_shapes(known.labels))) or "")


def test_a_table_that_no_mask_can_meet_is_an_error_and_not_a_loop() -> None:
    shapes = measure_shapes(ellipse((128, 128), (50, 40))[None])
    shapes[:, [X, Y]] = 40
    with pytest.raises(BadInput, match="none of 200 masks"):
        ProceduralMasks(shapes, size=SIDE).draw(0, rng=_rng(0))


def _of_100_classes() -> np.ndarray:
    """One pixel each, all over the picture: every change loses some."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:60, 4:60] = 1
    mask[4:60:6, 4:60:6] = np.arange(2, 102).reshape(10, 10)
    return mask


def test_in_the_place_of_a_mask_that_no_change_leaves_plausible_the_next_is_bent(known: KnownMasks) -> None:
    odd = _of_100_classes()
    masks = AugmentedMasks(KnownMasks(np.concatenate([known.labels, odd[None]]), (*known.ids, "odd")))
    asked = [masks.draw(i, rng=_rng(i)) for i in range(len(known.ids) + 1)]
    assert "augmented odd" not in {mask.source for mask in asked}
    assert {mask.source for mask in asked} == {f"augmented {id}" for id in known.ids}


def test_masks_that_no_change_leaves_plausible_are_named() -> None:
    labels = np.stack([_of_100_classes()] * 2)
    with pytest.raises(BadInput, match=r"each of 2 masks \(.*a, .*b|each of 2 masks \(.*b, .*a"):
        AugmentedMasks(KnownMasks(labels, ("a", "b"))).draw(0, rng=_rng(0))


def test_a_table_without_a_row_is_an_error() -> None:
    with pytest.raises(BadInput, match="no lesion was measured"):
        ProceduralMasks(measure_shapes(np.zeros((2, SIDE, SIDE), np.uint8)), size=SIDE)


class TestFolders:
    """Masks on disk."""

    @staticmethod
    def _write(folder: Path, name: str, mask: np.ndarray) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask * np.uint8(255)).save(folder / name)

    @staticmethod
    def _read(folder: Path, size: int = 64, splits: tuple[Path, ...] = ()) -> tuple[KnownMasks, tuple[str, ...]]:
        found = read_masks(folder, splits=splits, size=size, num_classes=1, progress=lambda done, total: None)
        return found.masks, found.notes

    @pytest.mark.parametrize("below", ["", "masks", "Masks"])
    def test_mask_files_are_read_by_name(self, below: str, tmp_path: Path) -> None:
        for i, name in enumerate(("b.png", "a.png")):
            self._write(tmp_path / "set" / below, name, ellipse((20 + 20 * i, 30), (8, 8), side=64))
        masks, notes = self._read(tmp_path / "set")
        assert masks.ids == ("set/a", "set/b")
        assert np.array_equal(masks.labels[1], ellipse((20, 30), (8, 8), side=64))
        assert notes == ()

    def test_the_masks_of_a_dataset_are_read_and_a_split_chooses(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            self._write(tmp_path / "set" / "masks", name, ellipse((20, 30), (8, 8), side=64))
            self._write(tmp_path / "set" / "images", name, ellipse((20, 30), (8, 8), side=64))
        split = tmp_path / "split.txt"
        split.write_text("set/b\n")
        assert self._read(tmp_path / "set", splits=(split,))[0].ids == ("set/b",)

    def test_masks_of_another_size_are_brought_to_it_and_told(self, tmp_path: Path) -> None:
        self._write(tmp_path / "m", "a.png", ellipse((64, 64), (30, 30), side=128))
        masks, notes = self._read(tmp_path / "m")
        assert masks.labels.shape == (1, 64, 64)
        assert float(masks.labels.mean()) == pytest.approx(np.pi * 30 * 30 / 128**2, rel=0.05)
        assert notes == ("masks of another size brought to 64x64: 1 of 128x128",)

    def test_a_lesion_that_the_size_loses_is_told(self, tmp_path: Path) -> None:
        mask = np.zeros((256, 256), np.uint8)
        mask[0, 0] = 1
        self._write(tmp_path / "m", "a.png", mask)
        _, notes = self._read(tmp_path / "m")
        assert "m/a: its lesion is lost at 64 px" in notes

    def test_masks_that_are_all_empty_are_refused(self, tmp_path: Path) -> None:
        self._write(tmp_path / "m", "a.png", np.zeros((64, 64), np.uint8))
        masks, _ = self._read(tmp_path / "m")
        with pytest.raises(BadDataset, match="all 1 masks are empty"):
            GivenMasks(masks)

    def test_a_folder_without_masks_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "m").mkdir()
        with pytest.raises(BadDataset, match="no masks in this folder"):
            self._read(tmp_path / "m")
        with pytest.raises(BadDataset, match="no such folder"):
            self._read(tmp_path / "none")

    @pytest.mark.parametrize(
        ("names", "said"), [(("a #1.png",), "a split list cannot hold"), (("a.png", "a.bmp"), "share their name")]
    )
    def test_masks_whose_ids_would_name_another_or_none_are_refused(
        self, names: tuple[str, ...], said: str, tmp_path: Path
    ) -> None:
        for name in names:
            self._write(tmp_path / "m", name, ellipse((20, 30), (8, 8), side=64))
        with pytest.raises(BadDataset, match=said):
            self._read(tmp_path / "m")


def test_a_bent_label_map_keeps_every_class_that_it_has() -> None:
    labels = np.zeros((8, SIDE, SIDE), np.uint8)
    for i in range(8):
        labels[i, 16 : 28 + 2 * i, 2 : 14 + 2 * i] = 1
        # At the edge, where a shift pushes it out of the picture.
        labels[i, 18:21, :2] = 2
    masks = AugmentedMasks(KnownMasks(labels, tuple(f"case/{i}" for i in range(8))))
    lost = [2 not in augmented(labels[i % 8], rng=_rng(i)) for i in range(40)]
    assert 5 < sum(lost) < 40
    for i in range(40):
        assert np.array_equal(np.unique(masks.draw(i, rng=_rng(i)).labels), [0, 1, 2])
