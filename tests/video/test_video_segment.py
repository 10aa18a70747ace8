from __future__ import annotations

import numpy as np
import pytest
from video_parts import GreenRunner, Kept, ListSource, spotted, truth, wall

from lawder_edge.bundle.processing import resize, to_mask
from lawder_edge.evaluation.metrics import dice
from lawder_edge.video.border import whole
from lawder_edge.video.classes import ABOVE_HALF
from lawder_edge.video.frames import Controls, Frame, Image, Map
from lawder_edge.video.pipeline import Pipeline, Setting
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.steadiness import OFF, Steady, SteadyConfig


class Soft(GreenRunner):
    """With probabilities of all heights, so that the resize decides where the mask ends."""

    def infer(self, tensor: np.ndarray) -> np.ndarray:
        bright = tensor[:, 1:2] - tensor[:, :1] if self.channels == 3 else tensor
        return ((bright - bright.mean()) * 8).astype(np.float32)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(1080, 1920), (576, 720), (97, 131), (640, 360), (40, 60)])
def test_a_still_gets_the_mask_of_predict_to_the_pixel(size: tuple[int, int], channels: int) -> None:
    threshold = 0.52
    runner = Soft()
    runner.channels = channels
    image = spotted(3, size=size)
    still = to_mask(runner.predict(image), threshold)
    assert 0 < still.mean() < 1
    kept = Kept()
    Pipeline(
        ListSource([image]), [Segmenter("soft", runner, threshold=threshold)], Controls(), viewers=[kept],
        setting=Setting(crop=False, judge=False),
    ).run()  # fmt: skip
    (segmented,) = kept.segmented
    np.testing.assert_array_equal(segmented.mask, still)
    np.testing.assert_array_equal(segmented.probability[still], runner.predict(image)[still])


class Several(Soft):
    """Three classes, of which now one and now another is ahead of background."""

    def infer(self, tensor: np.ndarray) -> np.ndarray:
        bright = 2 * (tensor[:, 1:2] - tensor.mean())
        logits = np.concatenate([np.full_like(bright, 0.3), bright, -bright], axis=1)
        if self.kind == "logits":
            return logits.astype(np.float32)
        shares = np.exp(logits)
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def several() -> Several:
    runner = Several()
    runner.classes = 3
    return runner


@pytest.mark.parametrize("kind", ["logits", "prob"])
@pytest.mark.parametrize("size", [(1080, 1920), (576, 720), (97, 131), (640, 360), (40, 60), (96, 128)])
def test_a_still_gets_the_mask_of_predict_where_there_are_several_classes(size: tuple[int, int], kind: str) -> None:
    runner = several()
    runner.kind = kind  # type: ignore[assignment]
    image = spotted(3, size=size)
    still = runner.predict_mask(image)
    assert still.any()
    # Background is the most probable of some with less than a half.
    assert ((runner.predict(image) >= 0.5) & ~still).any()
    assert len(np.unique(runner.predict_labels(image))) == 3
    segmenter = Segmenter("several", runner, threshold=0.3)
    # As with masks, the threshold that a person chose is for the others.
    for threshold in (None, 0.9):
        found = segmenter.step(
            Frame(0, 0.0, image), whole(image), segmenter.shrink(image), at_s=0.0, pre_ms=0.0, threshold=threshold
        )
        np.testing.assert_array_equal(found.mask, still)
        np.testing.assert_array_equal(found.probability >= np.float32(ABOVE_HALF), still)


def test_several_classes_are_steadied_and_what_the_steadiness_decided_is_kept() -> None:
    config = SteadyConfig(smooth_ms=120, hysteresis=0, least_area=0, least_ms=0)
    segmenter = Segmenter("several", several(), threshold=0.5, steadier=lambda threshold: Steady(threshold, config))
    image, dark = spotted(3, size=(192, 256)), np.full((192, 256, 3), 120, np.uint8)

    def step(number: int, picture: Image) -> Image:
        return segmenter.step(
            Frame(number, number / 25, picture), whole(picture), segmenter.shrink(picture),
            at_s=number / 25, pre_ms=0.0, threshold=None,
        ).mask  # fmt: skip

    still = segmenter.runner.predict_mask(image)
    for number in range(3):
        assert dice(step(number, image), still) > 0.98
    assert not segmenter.runner.predict_mask(dark).any()
    assert not step(3, dark).any()

    withheld = SteadyConfig(smooth_ms=0, hysteresis=0, least_area=0.99, least_ms=0)
    segmenter = Segmenter("several", several(), threshold=0.5, steadier=lambda threshold: Steady(threshold, withheld))
    assert not step(0, image).any()


def test_a_still_gets_the_mask_of_predict_where_the_network_gives_masks() -> None:
    class Masks(Soft):
        def infer(self, tensor: np.ndarray) -> np.ndarray:
            return (super().infer(tensor) > 0).astype(np.uint8)

    runner = Masks()
    runner.kind = "mask"
    image = spotted(3, size=(300, 400))
    segmenter = Segmenter("masks", runner, threshold=0.5)
    found = segmenter.step(
        Frame(0, 0.0, image), whole(image), segmenter.shrink(image), at_s=0.0, pre_ms=0.0, threshold=None
    )
    np.testing.assert_array_equal(found.mask, runner.predict_mask(image))


def test_the_two_fields_of_an_interlaced_frame_are_averaged_on_the_way_to_the_network() -> None:
    image = np.zeros((576, 720, 3), np.uint8)
    image[::2, 200:400] = 200
    image[1::2, 260:460] = 200
    small = Segmenter("s", GreenRunner((256, 256)), threshold=0.5).shrink(image).astype(int)
    # Shifted by 60 pixels against each other, they stand 22 apart in the small picture; there a row is hardly unlike
    # the next.
    assert np.abs(np.diff(small[2:-2], axis=0)).max() <= 0.15 * 200


def test_a_runner_that_gives_masks_is_steadied_and_enlarged_like_any_other() -> None:
    class Masks(GreenRunner):
        def infer(self, tensor: np.ndarray) -> np.ndarray:
            return (super().infer(tensor) > 0).astype(np.uint8)

    runner = Masks()
    runner.kind = "mask"
    image = spotted(2, size=(192, 256))
    segmented = Segmenter("masks", runner, threshold=0.5).step(
        Frame(0, 0.0, image), whole(image), resize(image, runner.size), at_s=0.0, pre_ms=1.0, threshold=0.9
    )
    assert dice(segmented.mask, truth(image)) > 0.9


def test_the_mask_is_the_one_that_the_steadiness_decided_and_agrees_with_the_probability() -> None:
    class Stubborn:
        """Withholds everything on the left, whatever its probability, and adds a stripe on the right."""

        def __init__(self, threshold: object) -> None:
            pass

        def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
            mask = np.zeros(probability.shape, np.uint8)
            mask[:, -20:] = 1
            return probability, mask, True

        def miss(self) -> None:
            pass

        def reset(self) -> None:
            pass

    image = spotted(0, size=(192, 256))
    segmented = Segmenter("s", GreenRunner(), threshold=0.5, steadier=Stubborn).step(
        Frame(0, 0.0, image), whole(image), resize(image, (96, 128)), at_s=0.0, pre_ms=0.0, threshold=None
    )
    assert not segmented.mask[:, :200].any()
    assert segmented.mask[:, -36:].all()
    np.testing.assert_array_equal(segmented.mask, segmented.probability >= np.float32(0.5))


def test_times_of_a_file_are_those_of_its_frames_and_not_of_their_reading() -> None:
    seen: list[float] = []

    class Clock(Steady):
        def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
            seen.append(frame.captured_s)
            return super().step(frame, probability)

    segmenter = Segmenter("s", GreenRunner(), threshold=0.5, steadier=lambda threshold: Clock(threshold, OFF))
    Pipeline(ListSource([wall()] * 3), [segmenter], Controls(), viewers=[Kept()]).run()
    assert seen == [0.0, 0.04, 0.08]
