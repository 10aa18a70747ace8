from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lawder_edge.errors import BadInput
from lawder_edge.video import measures
from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.frames import Frame, Steadier
from lawder_edge.video.steadiness import OFF, Confirmation, Steady, SteadyConfig, steady_config

SIZE = (96, 128)
FPS = 30.0
SMOOTH = replace(OFF, smooth_ms=200.0)


def texture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 20, 235, cv2.NORM_MINMAX)


def disc(x: float, y: float = 48, radius: float = 16, size: tuple[int, int] = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    return np.hypot(columns - x, rows - y) < radius


def run(config: SteadyConfig, images: list[np.ndarray], probabilities: list[np.ndarray], fps: float = FPS) -> list:
    steady: Steadier = Steady(lambda: 0.5, config)
    return [
        steady.step(Frame(t, t / fps, image), probability.astype(np.float32))
        for t, (image, probability) in enumerate(zip(images, probabilities, strict=True))
    ]


def test_switched_off_every_frame_stands_by_itself() -> None:
    rng = np.random.default_rng(0)
    probabilities = [rng.random(SIZE, np.float32) for _ in range(4)]
    for (shown, mask, _), alone in zip(run(OFF, [texture()] * 4, probabilities), probabilities, strict=True):
        assert np.array_equal(shown, alone)
        assert np.array_equal(mask, alone >= 0.5)


def test_on_a_clip_flicker_is_halved_while_dice_and_place_are_kept() -> None:
    clip = ProceduralClip(seed=5, size=SIZE, fps=FPS)
    numbers = range(75, 125)
    rng = np.random.default_rng(1)
    truth = np.stack([clip.mask_of(n) for n in numbers]) > 0
    # As a network errs: the outline wavers from frame to frame, and more with each second one.
    noisy = [
        np.clip(
            cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)
            + cv2.resize(rng.normal(0, 0.3, (6, 8)).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC),
            0,
            1,
        )
        for mask in truth
    ]
    images = [clip.picture_of(n) for n in numbers]
    motions = [clip.came_from(n) for n in numbers]
    follows = np.array([False] + [True] * (len(truth) - 1))
    scores = []
    for config in (OFF, SteadyConfig()):
        track = np.stack([mask > 0 for _, mask, _ in run(config, images, noisy)])
        scores.append(
            (
                measures.unmatched_change(track, truth, follows),
                measures.motion_inconsistency(track, motions),
                measures.mean_dice(track[5:], truth[5:]),
                measures.contour_lag(track, truth),
            )
        )
    (unmatched_alone, apart_alone, dice_alone, _), (unmatched, apart, dice, lag) = scores

    assert unmatched < 0.5 * unmatched_alone
    assert apart < 0.5 * apart_alone
    assert dice >= dice_alone
    assert abs(lag) <= 1


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_the_time_constant_is_in_milliseconds_whatever_the_frame_rate(fps: float) -> None:
    after = round(0.2 * fps)
    probabilities = [np.zeros(SIZE)] + [np.ones(SIZE)] * after
    shown = run(SMOOTH, [texture()] * (after + 1), probabilities, fps)[-1][0]

    assert shown[20:-20, 20:-20] == pytest.approx(1 - np.exp(-1), abs=0.02)


def test_what_was_found_moves_with_the_picture() -> None:
    wide = texture(size=(96, 228))
    images = [np.ascontiguousarray(wide[:, 3 * t : 3 * t + 128]) for t in range(8)]
    seen = [disc(80 - 3 * t) for t in range(8)]
    # The network is blind at the end: what is left of the disc must be where the disc went.
    probabilities = [*(m.astype(float) for m in seen[:6]), np.zeros(SIZE), np.zeros(SIZE)]
    slow = replace(OFF, smooth_ms=1000.0)
    followed = run(slow, images, probabilities)[-1][1] > 0
    not_followed = run(replace(slow, follow=False), images, probabilities)[-1][1] > 0

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return float((a & b).sum() / (a | b).sum())

    assert iou(followed, seen[-1]) > 0.9
    assert iou(not_followed, seen[-1]) < 0.7


def test_where_the_picture_cannot_be_followed_the_new_frame_counts_alone() -> None:
    still, changed = texture(0), texture(0)
    changed[:, 64:] = texture(9)[:, 64:]
    images = [still] * 5 + [changed]
    probabilities = [np.zeros(SIZE)] * 5 + [np.ones(SIZE)]
    shown = run(replace(SMOOTH, cuts=False), images, probabilities)[-1][0]

    assert shown[20:76, 20:50].mean() < 0.2
    assert shown[20:76, 80:110].mean() > 0.6


def test_with_hysteresis_a_pixel_just_below_the_threshold_stays_in_the_mask_and_does_not_enter_it() -> None:
    config = replace(OFF, hysteresis=0.1)
    levels = [0.55, 0.45, 0.55, 0.35, 0.45, 0.49, 0.51, 0.45]
    found = [bool(mask[48, 64]) for _, mask, _ in run(config, [texture()] * 8, [np.full(SIZE, v) for v in levels])]

    assert found == [True, True, True, False, False, False, True, True]


def test_regions_below_the_least_area_are_not_shown() -> None:
    config = replace(OFF, least_area=0.01)
    small, large = disc(20, radius=5), disc(90, radius=16)
    _, mask, _ = run(config, [texture()], [(small | large).astype(float)])[0]

    assert small.mean() < 0.01 < large.mean()
    assert np.array_equal(mask > 0, large)


def test_a_region_is_shown_once_it_has_been_found_for_long_enough() -> None:
    config = replace(OFF, least_ms=95.0)
    there = [False, True, True, True, True, False, True, True, True]
    shown = [
        bool(mask.any()) for _, mask, _ in run(config, [texture()] * len(there), [disc(60) * float(t) for t in there])
    ]

    # Frames are 33 ms apart: the third one after nothing has been there for 100 ms.
    assert shown == [False, False, False, True, True, False, False, False, True]


def test_a_region_that_moves_is_the_same_one() -> None:
    wide = texture(size=(96, 228))
    images = [np.ascontiguousarray(wide[:, 4 * t : 4 * t + 128]) for t in range(8)]
    shown = [m for _, m, _ in run(replace(OFF, least_ms=95.0), images, [disc(90 - 4 * t) * 1.0 for t in range(8)])]

    assert [bool(m.any()) for m in shown] == [False, False, False, True, True, True, True, True] or [
        bool(m.any()) for m in shown
    ] == [False, False, True, True, True, True, True, True]


def test_a_cut_is_found_in_the_pictures_and_nothing_is_carried_over_it() -> None:
    images = [texture(0)] * 4 + [texture(7)] * 2
    probabilities = [disc(40) * 1.0] * 4 + [np.zeros(SIZE)] * 2
    alone, uncut = (run(replace(SMOOTH, cuts=c), images, probabilities)[4][0] for c in (True, False))

    assert not alone.any()
    assert uncut.any()


@pytest.mark.parametrize("how", ["told", "gap", "backwards", "size"])
def test_nothing_is_carried_over_a_break(how: str) -> None:
    steady = Steady(lambda: 0.5, SMOOTH)
    for t in range(4):
        steady.step(Frame(t, 10 + t / FPS, texture()), np.ones(SIZE, np.float32))
    later = {"told": 10.13, "gap": 12.0, "backwards": 9.0, "size": 10.13}[how]
    size = (48, 64) if how == "size" else SIZE
    image = texture(size=size)
    shown, mask, _ = steady.step(Frame(4, later, image, cut=how == "told"), np.zeros(size, np.float32))

    assert not shown.any()
    assert not mask.any()


def test_an_alarm_is_confirmed_by_three_frames_in_a_row_and_falls_with_the_first_without() -> None:
    confirm = Confirmation(3)
    found = [True, True, False, True, True, True, True, False, True]

    assert [confirm.step(f) for f in found] == [False, False, False, False, False, True, True, False, False]
    assert SteadyConfig().confirm_frames == 3


def test_a_cut_starts_the_confirmation_anew_with_and_without_smoothing() -> None:
    for config in (OFF, replace(SMOOTH, cuts=False)):
        steady = Steady(lambda: 0.5, config)
        alarms = [steady.step(Frame(t, t / FPS, texture(), cut=t == 4), np.ones(SIZE, np.float32))[2] for t in range(8)]
        assert alarms == [False, False, True, True, False, False, True, True]


def test_a_frame_without_a_mask_breaks_the_row() -> None:
    for config in (OFF, SMOOTH):
        steady = Steady(lambda: 0.5, config)
        alarms = []
        for t in range(6):
            if t == 2:
                steady.miss()
            alarms.append(steady.step(Frame(t, t / FPS, texture()), np.ones(SIZE, np.float32))[2])
        assert alarms == [False, False, False, False, True, True]


@pytest.mark.parametrize("fps", [30.0, 1.0, 0.2])
def test_frames_in_a_row_confirm_an_alarm_however_rare_they_are(fps: float) -> None:
    for config in (OFF, SMOOTH, SteadyConfig()):
        found = run(config, [texture()] * 4, [disc(64)] * 4, fps)
        assert [alarm for _, _, alarm in found] == [False, False, True, True]


def test_the_threshold_is_asked_for_at_every_frame() -> None:
    threshold = [0.5]
    steady = Steady(lambda: threshold[0], SMOOTH)
    areas = []
    for t, value in enumerate((0.5, 0.7, 0.5)):
        threshold[0] = value
        areas.append(steady.step(Frame(t, t / FPS, texture()), np.full(SIZE, 0.6, np.float32))[1].mean())

    assert areas == [1.0, 0.0, 1.0]


def test_large_pictures_are_worked_on_small_and_come_back_at_their_size() -> None:
    size = (540, 720)
    results = run(SteadyConfig(), [texture(size=size)] * 3, [disc(300, 200, 90, size).astype(float)] * 3)
    shown, mask, _ = results[-1]
    truth = disc(300, 200, 90, size)

    assert shown.shape == mask.shape == size
    assert shown.dtype == np.float32
    assert 0 <= shown.min() <= shown.max() <= 1
    assert set(np.unique(mask)) == {0, 1}
    assert (mask > 0)[truth].mean() > 0.97
    assert (mask > 0)[~truth].mean() < 0.01


def test_what_a_person_leaves_out_is_the_default_or_off() -> None:
    assert steady_config() == SteadyConfig()
    assert steady_config(on=False) == OFF
    assert steady_config(hysteresis=0.0) == replace(SteadyConfig(), hysteresis=0.0)
    assert steady_config(on=False, least_ms=80.0, confirm_frames=5) == replace(OFF, least_ms=80.0, confirm_frames=5)


@pytest.mark.parametrize(
    "wrong", [{"smooth_ms": -1.0}, {"least_area": -0.1}, {"hysteresis": float("nan")}, {"confirm_frames": 0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="steadiness"):
        SteadyConfig(**wrong)  # type: ignore[arg-type]
