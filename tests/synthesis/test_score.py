"""The measures of a set of synthetic pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synth_samples import phantom_data

from lawder_edge.bundle.runner import Runner
from lawder_edge.errors import BadInput
from lawder_edge.loading import Predictor
from lawder_edge.synthesis.distances import frechet_distance
from lawder_edge.synthesis.features import FeatureNetwork
from lawder_edge.synthesis.score import QualityReport, lesion_crop, score_pictures
from lawder_edge.training.batches import TrainData


def _means(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The mean colours of 4 x 4 places, of a picture of any size."""
    parts = []
    for picture in pictures:
        rows = np.array_split(picture.astype(np.float32), 4)
        parts.append(np.concatenate([block.mean((0, 1)) for row in rows for block in np.array_split(row, 4, 1)]))
    return np.stack(parts) / 255


# Stands for the network.
COARSE = FeatureNetwork("coarse", False, _means)


def _scored(synthetic: TrainData, judge: Any = None) -> QualityReport:
    train, held = phantom_data(40, seed=1), phantom_data(30, seed=2)
    train, held = (
        dataclasses.replace(d, ids=tuple(f"{n}/{i}" for i in range(len(d))))
        for d, n in ((train, "train"), (held, "held"))
    )
    return score_pictures(synthetic, train, held, features=COARSE, judge=judge, progress=lambda done, total: None)


def test_pictures_like_the_real_ones_are_at_the_floor_and_noise_is_far_above_it() -> None:
    real = phantom_data(40, seed=3)
    noise = dataclasses.replace(
        real, images=np.random.default_rng(0).integers(0, 256, real.images.shape, dtype=np.uint8)
    )
    for like, unlike in zip(_scored(real).distances, _scored(noise).distances, strict=True):
        assert unlike.to_held.mean > 0.05
        assert abs(like.to_held.mean - like.floor.mean) < 0.1 * unlike.to_held.mean
        assert unlike.frechet_to_held > 2 * like.frechet_to_held
        assert like.view == unlike.view


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)], ids=["as it is", "upside down", "mirrored", "both"])
def test_a_copy_of_a_training_picture_is_flagged_with_its_source_and_others_are_not(axes: tuple[int, ...]) -> None:
    own = phantom_data(10, seed=3)
    train = phantom_data(40, seed=1)
    images = own.images.copy()
    # A copy that is a little brighter, which changes pixels and no structure.
    images[4] = np.clip(np.flip(train.images[7], axes).astype(int) + 2, 0, 255)
    found = _scored(dataclasses.replace(own, images=images)).memorised
    assert found.flagged[0].id == own.ids[4]
    assert found.flagged[0].train_id == found.flagged[0].pixel_train_id == "train/7"
    assert 1 <= found.flagged[0].pixel_rms <= 2
    assert found.flagged[0].pixel_ratio < 0.2
    assert len(found.flagged) <= 3
    assert len(_scored(own).memorised.flagged) <= 2


def test_a_copy_is_found_by_pixels_where_features_see_nothing_of_it() -> None:
    own = phantom_data(10, seed=3)
    images = own.images.copy()
    images[4] = phantom_data(40, seed=1).images[7][:, ::-1]
    rng = np.random.default_rng(0)
    blind = FeatureNetwork("blind", False, lambda pictures: rng.random((len(pictures), 64), np.float32))
    train, held = phantom_data(40, seed=1), phantom_data(30, seed=2)
    copied = dataclasses.replace(own, images=images)
    found = score_pictures(copied, train, held, features=blind, progress=lambda done, total: None).memorised
    assert found.flagged[0].id == own.ids[4]
    assert found.flagged[0].pixel_train_id == train.ids[7]


def test_fidelity_stands_beside_the_judges_own_dice_on_real_pictures() -> None:
    synthetic = phantom_data(6, seed=3)
    found_by_frame = {}
    for data in (synthetic, phantom_data(30, seed=2)):
        for image, labels in zip(data.images, data.labels, strict=True):
            found_by_frame[image.tobytes()] = labels.astype(np.float32)
    # Wrong about one synthetic picture of six, right about all real ones.
    found_by_frame[synthetic.images[0].tobytes()] = np.zeros((32, 32), np.float32)
    judge = SimpleNamespace(
        name="oracle",
        sha256="ab" * 32,
        threshold=0.5,
        runner=SimpleNamespace(classes=1, predict=lambda image: found_by_frame[image.tobytes()]),
    )
    fidelity = _scored(synthetic, judge).fidelity
    assert fidelity is not None
    assert fidelity.synthetic.mean == pytest.approx(5 / 6)
    assert fidelity.held_out.mean == 1
    assert fidelity.judge == "oracle (abababababab)"
    assert [(p.id, p.dice) for p in fidelity.pictures] == [
        (id, float(i > 0)) for i, id in enumerate(synthetic.ids)
    ]  # fmt: skip
    assert fidelity.quantiles((0, 0.5, 1)) == (0, 1, 1)


@pytest.mark.parametrize("lesion_class", [1, 2])
def test_a_judge_of_several_classes_is_asked_for_those_that_are_lesion(lesion_class: int) -> None:
    labels = np.zeros((4, 32, 32), np.uint8)
    labels[:, 4:28, 4:28], labels[:, 12:20, 12:20] = 1, 2
    pictures = np.repeat((labels * 100)[..., None], 3, 3)

    class Exact(Runner):
        def infer(self, tensor: Any) -> Any:
            found = np.rint((tensor[:, 0] * 128 + 128) / 100)
            return np.stack([np.where(found == k, 9.0, -9.0) for k in range(3)], 1).astype(np.float32)

    judge = Predictor(Exact(size=(32, 32), classes=3), "exact", "", "fp32", 0.5, sha256="0" * 64)
    synthetic, train, held = (
        dataclasses.replace(
            phantom_data(4, seed=1), images=pictures, labels=labels, ids=tuple(f"{n}/{i}" for i in range(4))
        )
        for n in ("synthetic", "train", "held")
    )
    found = score_pictures(
        synthetic, train, held, features=COARSE, judge=judge, lesion_class=lesion_class,
        progress=lambda done, total: None,
    ).fidelity  # fmt: skip
    assert found is not None
    assert found.synthetic.mean == found.held_out.mean == 1


def test_pictures_without_lesions_are_told_before_any_is_measured() -> None:
    own = phantom_data(4, seed=3)
    labels = np.zeros_like(own.labels)
    labels[2] = own.labels[2]
    measured: list[int] = []
    train, held = phantom_data(5, seed=1), phantom_data(6, seed=2)
    with pytest.raises(BadInput, match="got 1 of 4 synthetic, 5 of 5 training, 6 of 6 held-out"):
        score_pictures(
            dataclasses.replace(own, labels=labels), train, held, features=COARSE,
            progress=lambda done, total: measured.append(done),
        )  # fmt: skip
    assert not measured


def test_the_report_names_the_network_of_its_features() -> None:
    report = _scored(phantom_data(4, seed=3))
    assert (report.features, report.published) == ("coarse", False)
    assert [d.view for d in report.distances] == ["frame", "lesion crop"]


def test_the_distance_to_the_training_pictures_is_of_as_many_as_there_are_of_both() -> None:
    frame = _scored(phantom_data(40, seed=3)).distances[0]
    assert (frame.frechet_n, frame.frechet_train_n) == (30, 40)
    real = [_means(list(phantom_data(40, seed=s).images)) for s in (3, 1)]
    assert frame.frechet_to_train == pytest.approx(frechet_distance(*real))


def test_lesions_of_label_maps_are_the_labels_from_the_lesion_class_on() -> None:
    def around_kidney(data: TrainData) -> TrainData:
        labels = data.labels * np.uint8(2)
        labels[:, :6] = np.where(labels[:, :6] == 0, 1, labels[:, :6])
        return dataclasses.replace(data, labels=labels)

    sets = [phantom_data(6, seed=s) for s in (3, 1, 2)]
    judge = SimpleNamespace(
        name="all",
        sha256="ab" * 32,
        threshold=0.5,
        runner=SimpleNamespace(classes=1, predict=lambda image: np.ones((32, 32))),
    )

    def scored(sets: Sequence[TrainData], lesion_class: int) -> QualityReport:
        return score_pictures(
            *sets, features=COARSE, judge=judge, lesion_class=lesion_class, progress=lambda done, total: None
        )  # type: ignore[arg-type, misc]

    maps = [around_kidney(data) for data in sets]
    assert scored(maps, 2) == scored(sets, 1)
    assert scored(maps, 1).distances[1] != scored(sets, 1).distances[1]


def test_pictures_of_several_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match="wanted one size"):
        _scored(phantom_data(4, side=64))


@pytest.mark.parametrize(
    ("box", "wanted"),
    [((10, 14, 20, 26), (7, 18)), ((0, 2, 0, 2), (0, 0)), ((0, 32, 0, 32), (0, 0))],
    ids=["inside", "in the corner", "everywhere"],
)
def test_a_lesion_crop_is_a_square_around_the_lesion_inside_the_picture(
    box: tuple[int, int, int, int], wanted: tuple[int, int]
) -> None:
    y0, y1, x0, x1 = box
    labels = np.zeros((32, 32), np.uint8)
    labels[y0:y1, x0:x1] = 1
    image = np.stack([*np.mgrid[0:32, 0:32], labels], 2).astype(np.uint8)
    crop = lesion_crop(image, labels)
    assert crop is not None
    assert crop.shape[0] == crop.shape[1] >= 8
    assert tuple(crop[0, 0, :2]) == wanted
    assert crop[..., 2].sum() == labels.sum()


def test_a_picture_without_a_lesion_has_no_crop() -> None:
    assert lesion_crop(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)) is None
