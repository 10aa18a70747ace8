from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bundle_samples import sample_manifest
from numpy.typing import NDArray

from lawder_edge.bundle.runner import Runner, check_tensor
from lawder_edge.errors import BadBundle, BadImage, BadInput


class RedRunner(Runner):
    """Logits are 100 times the red channel; with more classes, all others are 0."""

    seen: tuple[int, ...] = ()

    def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen = tensor.shape
        logits = np.zeros((1, self.classes, *tensor.shape[2:]), np.float32)
        logits[:, -1] = 100 * tensor[:, 0]
        return logits


@pytest.mark.parametrize("size", [(1, 1), (37, 91), (256, 256), (480, 640)])
def test_a_frame_of_any_size_gives_a_map_of_that_size(size: tuple[int, int]) -> None:
    runner = RedRunner(size=(64, 96))
    probability = runner.predict(np.full((*size, 3), 255, np.uint8))
    assert runner.seen == (1, 3, 64, 96)
    assert probability.shape == size
    assert probability.dtype == np.float32
    assert (probability == 1).all()


def test_the_mask_is_cut_at_the_runners_threshold() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[:4, :, 0] = 255
    mask = RedRunner(size=(8, 8), threshold=0.9).predict_mask(frame)
    assert mask[:4].all()
    assert not mask[4:].any()


def test_several_classes_sum_to_one_and_the_first_is_background() -> None:
    runner = RedRunner(size=(32, 32), classes=3)
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    classes = runner.predict_classes(frame)
    assert classes.shape == (3, 40, 50)
    np.testing.assert_allclose(classes.sum(axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(runner.predict(frame), 1 - classes[0], atol=1e-4)


def test_labels_of_several_classes_are_those_that_an_evaluation_scores() -> None:
    runner = RedRunner(size=(32, 32), classes=3, threshold=0.5)
    frame = np.random.default_rng(0).integers(126, 131, (40, 50, 3), np.uint8)
    labels = runner.predict_labels(frame)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, runner.predict_classes(frame).argmax(axis=0))
    np.testing.assert_array_equal(runner.predict_mask(frame), labels != 0)
    # Where two thirds are foreground but background is as likely as any, the threshold would say foreground.
    assert (runner.predict(frame)[labels == 0] >= 0.5).any()


def test_labels_of_one_class_are_the_mask() -> None:
    runner = RedRunner(size=(32, 32), threshold=0.9)
    frame = np.random.default_rng(0).integers(100, 156, (40, 50, 3), np.uint8)
    np.testing.assert_array_equal(runner.predict_labels(frame), runner.predict(frame) >= np.float32(0.9))
    assert 0 < runner.predict_labels(frame).mean() < 1


def test_output_that_is_probability_already_is_not_squeezed_again() -> None:
    class Half(RedRunner):
        def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.full((1, 1, 32, 32), 0.25, np.float32)

    found = Half(size=(32, 32), kind="probabilities").predict(np.zeros((8, 8, 3), np.uint8))
    np.testing.assert_allclose(found, 0.25, atol=1e-5)


@pytest.mark.parametrize("frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    with pytest.raises(BadImage, match="frame"):
        RedRunner(size=(32, 32)).predict(frame)


def test_a_network_that_gives_nan_is_told() -> None:
    class Broken(RedRunner):
        def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.full((1, 1, 32, 32), np.nan, np.float32)

    with pytest.raises(BadInput, match="not finite"):
        Broken(size=(32, 32)).predict(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("shape", "dynamic", "batch", "good"),
    [
        ((1, 3, 256, 352), False, False, True),
        ((1, 3, 256, 256), False, False, False),
        ((2, 3, 256, 352), False, False, False),
        ((2, 3, 256, 352), False, True, True),
        ((1, 3, 32, 640), True, False, True),
        ((1, 3, 33, 640), True, False, False),
        ((1, 3, 0, 32), True, False, False),
        ((0, 3, 32, 32), True, True, False),
        ((1, 1, 32, 32), True, False, False),
        ((3, 32, 32), True, True, False),
    ],
)
def test_infer_takes_float32_of_the_manifests_shapes_alone(
    shape: tuple[int, ...], dynamic: bool, batch: bool, good: bool
) -> None:
    spec = replace(sample_manifest().input, dynamic=dynamic, dynamic_batch=batch)
    tensor = np.zeros(shape, np.float32)
    if good:
        check_tensor(tensor, spec)
    with pytest.raises(BadInput, match="infer wants"):
        check_tensor(tensor.astype(np.float64) if good else tensor, spec)


class Halves(Runner):
    """A network that gives masks: 0 on the left, 2 on the right."""

    def infer(self, tensor: NDArray[np.float32]) -> NDArray[np.uint8]:
        numbers = np.zeros((1, 1, *tensor.shape[2:]), np.uint8)
        numbers[..., tensor.shape[3] // 2 :] = 2
        return numbers


@pytest.mark.parametrize("size", [(1, 2), (37, 90), (480, 640)])
def test_a_network_that_gives_masks_gives_labels_at_the_frames_size(size: tuple[int, int]) -> None:
    runner = Halves(size=(32, 32), classes=3, kind="mask")
    labels = runner.predict_labels(np.zeros((*size, 3), np.uint8))
    assert (labels.dtype, labels.shape) == (np.uint8, size)
    assert (labels[:, : size[1] // 2] == 0).all()
    assert (labels[:, size[1] // 2 :] == 2).all()
    np.testing.assert_array_equal(runner.predict_mask(np.zeros((*size, 3), np.uint8)), labels != 0)


@pytest.mark.parametrize("name", ["predict", "predict_classes"])
def test_a_network_that_gives_masks_has_no_probabilities_and_says_what_to_use(name: str) -> None:
    runner = Halves(size=(32, 32), classes=3, kind="mask")
    with pytest.raises(BadInput, match="Use predict_mask or predict_labels, or export it again with --output prob"):
        getattr(runner, name)(np.zeros((8, 8, 3), np.uint8))


def test_values_that_are_no_probabilities_are_a_bad_bundle() -> None:
    class Logits(RedRunner):
        """Says that its logits are probabilities."""

    with pytest.raises(BadBundle, match="outside"):
        Logits(size=(32, 32), kind="probabilities").predict(np.full((8, 8, 3), 255, np.uint8))
