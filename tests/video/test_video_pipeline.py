from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from video_parts import SIZE, GreenRunner, Kept, ListSource, segmenter, spotted, truth, wall

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.metrics import dice
from lawder_edge.video.capture import Capture
from lawder_edge.video.clip import ProceduralClip, read_code
from lawder_edge.video.frames import Controls, Frame
from lawder_edge.video.inference import Inference
from lawder_edge.video.pipeline import Outcome, Pipeline, Setting
from lawder_edge.video.segment import Segmenter

PATIENCE_S = 60


def run(source: object, viewer: Kept, *, runner: GreenRunner | None = None, **setting: object) -> Outcome:
    controls = viewer._controls or Controls()
    options = Setting(**setting)  # type: ignore[arg-type]
    return Pipeline(source, [segmenter(runner)], controls, viewers=[viewer], setting=options).run()  # type: ignore[arg-type]


def test_every_frame_of_a_file_is_shown_in_order_with_the_mask_of_that_very_frame() -> None:
    viewer = Kept()
    source = ListSource([spotted(i) for i in range(8)])
    outcome = run(source, viewer)
    assert [s.frame.number for s in viewer.segmented] == list(range(8))
    for s in viewer.segmented:
        assert dice(s.mask, truth(spotted(s.frame.number))) > 0.9
    assert (outcome.captured, outcome.shown, outcome.segmented, outcome.dropped) == (8, 8, 8, 0)
    assert viewer.closed
    assert source.closed


def test_the_picture_is_that_of_the_frame_whose_number_it_carries() -> None:
    clip = ProceduralClip(seed=1, size=(120, 480), fps=25, frames=6)
    viewer = Kept()
    # Nothing is drawn over the code: its white blocks are as green as red, and none of them a polyp.
    Pipeline(clip, [Segmenter("green", GreenRunner(), threshold=0.9)], Controls(), viewers=[viewer]).run()
    assert [read_code(p) for p in viewer.pictures] == [s.frame.number for s in viewer.segmented] == list(range(6))


def test_the_latency_told_is_from_capture_to_the_viewer() -> None:
    ages_ms: list[float] = []

    class Late(Kept):
        """Asks the clock of the frame as it arrives."""

        def show(self, picture: object, segmented: object, status: object) -> None:
            ages_ms.append(1000 * (time.monotonic() - segmented.frame.captured_s))  # type: ignore[attr-defined]

    viewer = Late()
    outcome = run(ListSource([spotted(i) for i in range(5)]), viewer)
    told = list(outcome.meter.durations.shown)
    # Noted right after the last viewer had it.
    assert all(t >= a for t, a in zip(told, ages_ms, strict=True))
    assert len(told) == 5


def test_a_camera_that_is_faster_than_the_network_is_not_queued_but_dropped_and_counted() -> None:
    controls = Controls()
    runner = GreenRunner()
    viewer = Kept(controls, after=2)
    source = ListSource([spotted(i) for i in range(40)], live=True)
    source.gates = {1: threading.Event(), 39: threading.Event()}

    class Opening(Kept):
        """Lets the camera run once the first frame was shown, and end with the second."""

        def show(self, picture: np.ndarray, segmented: object, status: object) -> None:
            source.gates[39 if source.gates[1].is_set() else 1].set()

    outcome = Pipeline(source, [segmenter(runner)], controls, viewers=[Opening(), viewer]).run()
    assert outcome.dropped > 0
    assert outcome.captured >= outcome.shown + outcome.dropped
    assert [s.frame.number for s in viewer.segmented] == sorted({s.frame.number for s in viewer.segmented})


def test_where_the_network_fails_the_picture_passes_through_with_a_warning() -> None:
    viewer = Kept()
    # Three calls are the warm-up.
    outcome = run(ListSource([spotted(i) for i in range(6)]), viewer, runner=GreenRunner(fail_after=3 + 2))
    assert viewer.reasons[:2] == ["", ""]
    assert all(r.startswith("no mask: green failed (the engine is gone") for r in viewer.reasons[2:])
    assert [bool(s.mask.any()) for s in viewer.segmented] == [True, True] + [False] * 4
    assert (outcome.failures, outcome.shown) == (4, 6)
    # Below the words the picture is as it was captured.
    np.testing.assert_array_equal(viewer.pictures[3][40:60], spotted(3)[40:60])


def test_where_the_network_is_silent_newer_pictures_pass_through_with_a_warning() -> None:
    controls = Controls()
    runner = GreenRunner()
    source = ListSource([spotted(i) for i in range(5)], live=True)
    source.gates[5] = threading.Event()

    class Waiting(Kept):
        def show(self, picture: np.ndarray, segmented: object, status: object) -> None:
            super().show(picture, segmented, status)  # type: ignore[arg-type]
            if segmented.reason:  # type: ignore[attr-defined]
                controls.stop()
                runner.hold.set()  # type: ignore[union-attr]
                source.gates[5].set()

    viewer = Waiting(controls)
    warmed = segmenter(runner)
    warmed.warm_up()
    runner.hold = threading.Event()
    warmed.warm_up = lambda calls=3: None  # type: ignore[method-assign]
    Pipeline(source, [warmed], controls, viewers=[viewer]).run()
    last = viewer.segmented[-1]
    assert last.reason.startswith("no mask: the network is silent")
    assert last.frame.number == 4
    assert not last.mask.any()


def test_a_picture_that_stands_is_told_to_be_old_and_keeps_its_own_mask() -> None:
    controls = Controls()
    source = ListSource([spotted(i) for i in range(2)], live=True, told="camera lost, reconnecting (try 1)")
    source.gates[1] = threading.Event()

    class Last(Kept):
        def show(self, picture: np.ndarray, segmented: object, status: object) -> None:
            super().show(picture, segmented, status)  # type: ignore[arg-type]
            if len(self.pictures) == 3:
                source.gates[1].set()

    viewer = Last(controls, after=3)
    outcome = Pipeline(source, [segmenter()], controls, viewers=[viewer]).run()
    assert [s.frame.number for s in viewer.segmented] == [0, 0, 0]
    # Shown once, stood twice: only once is it measured.
    assert outcome.shown == 1
    assert viewer.status[-1].source == "camera lost, reconnecting (try 1)"
    # The line that says how old it is stands below the others.
    assert (viewer.pictures[-1] != viewer.pictures[0]).any()
    assert dice(viewer.segmented[-1].mask, truth(spotted(0))) > 0.9


def test_a_paused_video_stands_and_goes_on_where_it_was() -> None:
    controls = Controls()

    class Pausing(Kept):
        def show(self, picture: np.ndarray, segmented: object, status: object) -> None:
            super().show(picture, segmented, status)  # type: ignore[arg-type]
            if len(self.pictures) == 2:
                controls.paused = True
            if len(self.pictures) == 4:
                controls.paused = False

    viewer = Pausing(controls)
    run(ListSource([spotted(i) for i in range(4)]), viewer)
    assert [s.frame.number for s in viewer.segmented] == [0, 1, 1, 1, 2, 3]


def test_an_unusable_picture_shows_no_mask_and_why() -> None:
    dark = (spotted(1) * 0.1).astype(np.uint8)
    viewer = Kept()
    outcome = run(ListSource([spotted(0), dark, spotted(2)]), viewer)
    assert viewer.reasons == ["", "image unusable: dark", ""]
    assert not viewer.segmented[1].mask.any()
    assert outcome.reasons == (("image unusable: dark", 1),)
    viewer = Kept()
    run(ListSource([dark]), viewer, judge=False)
    assert viewer.reasons == [""]


def test_an_unusable_picture_breaks_the_row_that_confirms_an_alarm_and_its_cut_is_not_lost() -> None:
    dark = (spotted(1) * 0.1).astype(np.uint8)
    viewer = Kept()
    # The first picture, at which the source tells a cut, is dark.
    run(ListSource([dark, *[spotted(i) for i in (0, 1)], dark, *[spotted(i) for i in (2, 3, 4)]]), viewer)
    assert [s.alarm for s in viewer.segmented] == [False] * 6 + [True]


def test_a_cut_outlives_the_segmented_frame_that_nobody_had_time_for() -> None:
    controls = Controls()
    source = ListSource([spotted(i) for i in range(4)], live=True)
    source.gates = {n: threading.Event() for n in range(1, 5)}
    capture = Capture(source, controls, keep_up=True)
    # Both networks have the frame, so both must tell.
    asked = Inference(
        capture, [segmenter(name="a"), segmenter(name="b")], controls, keep_up=True, together=True, judge=False
    )
    capture.start()
    asked.start()
    for number in range(1, 5):
        # Each is segmented before the next comes, and none of them fetched.
        while asked.segmented < 2 * number:
            time.sleep(0.001)
        source.gates[number].set()
    capture.join(PATIENCE_S)
    asked.join(PATIENCE_S)
    found = asked.slot.take(0)
    assert found is not None
    assert asked.unseen == 3
    assert [(s.frame.number, s.frame.cut) for s in found.segmented] == [(3, True), (3, True)]


def test_a_network_that_was_not_looked_at_confirms_its_alarms_anew() -> None:
    controls = Controls(bundles=("a", "b"))
    source = ListSource([])
    asked = Inference(
        Capture(source, controls, keep_up=False), [segmenter(name="a"), segmenter(name="b")], controls, keep_up=False
    )
    alarms = []
    for number, bundle in enumerate((0, 0, 0, 1, 0, 0, 0)):
        controls.bundle = bundle
        found = asked._look(Frame(number, number / 25, spotted(number), cut=number == 0))
        alarms.append(found.segmented[0].alarm)
    assert alarms == [False, False, True, False, False, False, True]


def test_the_black_border_is_cut_away_for_the_network_and_the_mask_stands_where_the_polyp_is() -> None:
    image = np.zeros((240, 400, 3), np.uint8)
    image[30:222, 100:356] = spotted(3, size=(192, 256))
    seen: list[tuple[int, ...]] = []

    class Looking(GreenRunner):
        def prepare(self, frame: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
            seen.append(tuple(int(v) for v in frame[4, 4]))
            return super().prepare(frame, size)

    viewer = Kept()
    run(ListSource([image]), viewer, runner=Looking())
    assert min(seen[-1]) > 10
    assert dice(viewer.segmented[0].mask, truth(image)) > 0.9


def test_sizes_that_change_on_the_way_portrait_and_4k_keep_their_masks() -> None:
    images = [spotted(2), spotted(2, size=(160, 90)), spotted(2, size=(2160, 3840)), spotted(2)]
    viewer = Kept()
    run(ListSource(images), viewer)
    assert [p.shape for p in viewer.pictures] == [i.shape for i in images]
    for image, s in zip(images, viewer.segmented, strict=True):
        assert dice(s.mask, truth(image)) > 0.85


def test_another_threshold_cuts_from_the_next_frame_on() -> None:
    class Soft(GreenRunner):
        def infer(self, tensor: np.ndarray) -> np.ndarray:
            return np.where(super().infer(tensor) > 0, np.float32(0.4), np.float32(-0.4))

    controls = Controls(threshold=0.9)
    viewer = Kept(controls)
    run(ListSource([spotted(0)]), viewer, runner=Soft())
    assert not viewer.segmented[0].mask.any()
    viewer = Kept(Controls(threshold=0.55))
    run(ListSource([spotted(0)]), viewer, runner=Soft())
    assert viewer.segmented[0].mask.any()


def test_two_networks_stand_side_by_side_on_the_same_frame_with_their_difference() -> None:
    controls = Controls(bundles=("a", "b"))
    viewer = Kept(controls)
    pair = [segmenter(name="a"), segmenter(GreenRunner(fail_after=3), name="b")]
    source = ListSource([spotted(i) for i in range(2)])
    Pipeline(source, pair, controls, viewers=[viewer], setting=Setting(compare=True)).run()
    assert viewer.pictures[0].shape == (SIZE[0], 3 * SIZE[1], 3)
    # What only the first found is sky blue in the third panel.
    only = (viewer.pictures[1][:, 2 * SIZE[1] :] == (86, 180, 233)).all(axis=2)
    rows = slice(50, 80)
    assert dice(only[rows], truth(spotted(1))[rows]) > 0.8
    with pytest.raises(BadInput, match="two networks"):
        Pipeline(source, pair[:1], controls, setting=Setting(compare=True))


def test_the_chosen_network_is_the_one_that_is_asked() -> None:
    controls = Controls(bundles=("a", "b"))
    controls.bundle = 1
    first, second = GreenRunner(), GreenRunner()
    Pipeline(ListSource([wall()] * 3), [segmenter(first), segmenter(second)], controls, viewers=[Kept()]).run()
    assert (first.calls, second.calls) == (3, 3 + 3)


def test_an_error_of_the_source_is_raised_once_the_viewers_are_closed() -> None:
    source = ListSource([spotted(0)])
    source.error = BadInput("the file is broken")
    viewer = Kept()
    with pytest.raises(BadInput, match="the file is broken"):
        run(source, viewer)
    assert viewer.closed
    assert len(viewer.pictures) == 1


def test_it_stops_between_two_pictures_when_it_is_told_to() -> None:
    viewer = Kept()
    source = ListSource([spotted(i) for i in range(50)])
    Pipeline(source, [segmenter()], Controls(), viewers=[viewer], stop=lambda: len(viewer.pictures) >= 3).run()
    assert len(viewer.pictures) == 3
    assert viewer.closed


def test_a_screenshot_is_written_once_for_each_time_it_is_asked_for(tmp_path: Path) -> None:
    controls = Controls()

    class Asking(Kept):
        def show(self, picture: np.ndarray, segmented: object, status: object) -> None:
            super().show(picture, segmented, status)  # type: ignore[arg-type]
            if len(self.pictures) in (1, 3):
                controls.ask_screenshot()

    outcome = run(ListSource([spotted(i) for i in range(5)]), Asking(controls), screenshots=tmp_path)
    assert [p.name for p in outcome.screenshots] == ["frame-000000.png", "frame-000002.png"]
    assert all(p.stat().st_size for p in outcome.screenshots)


def test_memory_of_the_latencies_does_not_grow_with_the_frames() -> None:
    from lawder_edge.video.frames import Frame
    from lawder_edge.video.inference import without_mask
    from lawder_edge.video.meter import Meter

    meter = Meter()
    one = without_mask(Frame(0, 0.0, wall()), "")
    for _ in range(12_000):
        meter.note(one, draw_ms=1.0)
    assert meter.shown == 12_000
    assert len(meter.durations.shown) == 10_000


def test_a_network_that_cannot_even_warm_up_is_an_error_and_everything_is_closed() -> None:
    source, first, second = ListSource([spotted(0)]), Kept(), Kept()

    def failing() -> None:
        raise OSError("the disk is gone")

    first.close = failing  # type: ignore[method-assign]
    broken = segmenter(GreenRunner(fail_after=0))
    with pytest.raises(OSError, match="the disk is gone") as error:
        Pipeline(source, [broken], Controls(), viewers=[second], recorders=[first]).run()
    assert "the engine is gone" in str(error.value.__context__)
    assert source.closed
    assert second.closed
