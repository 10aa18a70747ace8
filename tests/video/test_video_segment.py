from __future__ import annotations

import numpy as np
import pytest
from video_parts import GreenRunner, spotted, truth, wall

from lawder_edge.bundle.processing import resize
from lawder_edge.evaluation.metrics import dice
from lawder_edge.video.border import whole
from lawder_edge.video.frames import Frame, Image, Map
from lawder_edge.video.segment import Segmenter, shrink


@pytest.mark.parametrize("size", [(256, 256), (288, 384), (720, 1280), (1080, 1920), (97, 131), (640, 360)])
def test_the_fast_way_to_the_networks_size_is_near_the_exact_one(size: tuple[int, int]) -> None:
    image = spotted(3, size=size)
    fast, exact = shrink(image, (256, 256)).astype(int), resize(image, (256, 256)).astype(int)
    assert fast.shape == (256, 256, 3)
    assert np.abs(fast - exact).mean() < 6
    # No shift: half a pixel of it at an edge would be seen here.
    both = np.abs((fast[..., 1] > 160).astype(int) - (exact[..., 1] > 160)).sum()
    assert both < 0.01 * 256 * 256


def test_the_two_fields_of_an_interlaced_frame_are_averaged_on_the_way_to_the_network() -> None:
    image = np.zeros((576, 720, 3), np.uint8)
    image[::2, 200:400] = 200
    image[1::2, 260:460] = 200
    small = shrink(image, (256, 256)).astype(int)
    assert np.abs(np.diff(small, axis=0)).max() == 0


def test_a_runner_that_gives_masks_is_steadied_and_enlarged_like_any_other() -> None:
    class Masks(GreenRunner):
        def infer(self, tensor: np.ndarray) -> np.ndarray:
            return (super().infer(tensor) > 0).astype(np.uint8)

    runner = Masks()
    runner.kind = "mask"
    image = spotted(2, size=(192, 256))
    segmented = Segmenter("masks", runner, threshold=0.5).step(
        Frame(0, 0.0, image), whole(image), shrink(image, runner.size), at_s=0.0, pre_ms=1.0, threshold=0.9
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

        def reset(self) -> None:
            pass

    image = spotted(0, size=(192, 256))
    segmented = Segmenter("s", GreenRunner(), threshold=0.5, steadier=Stubborn).step(
        Frame(0, 0.0, image), whole(image), shrink(image, (96, 128)), at_s=0.0, pre_ms=0.0, threshold=None
    )
    assert not segmented.mask[:, :200].any()
    assert segmented.mask[:, -36:].all()
    np.testing.assert_array_equal(segmented.mask, segmented.probability >= np.float32(0.5))


def test_times_of_a_file_are_those_of_its_frames_and_not_of_their_reading() -> None:
    from video_parts import Kept, ListSource

    from lawder_edge.video.frames import Controls
    from lawder_edge.video.pipeline import Pipeline
    from lawder_edge.video.steadiness import OFF, Steady

    seen: list[float] = []

    class Clock(Steady):
        def step(self, frame: Frame, probability: Map) -> tuple[Map, Image, bool]:
            seen.append(frame.captured_s)
            return super().step(frame, probability)

    segmenter = Segmenter("s", GreenRunner(), threshold=0.5, steadier=lambda threshold: Clock(threshold, OFF))
    Pipeline(ListSource([wall()] * 3), [segmenter], Controls(), viewers=[Kept()]).run()
    assert seen == [0.0, 0.04, 0.08]
