from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.evaluation import tables
from lawder_edge.evaluation.evaluate import EvalPair, EvalReport, evaluate, report_of
from lawder_edge.evaluation.overlap import TrainedOn, find_overlap
from lawder_edge.evaluation.report import METRICS, to_json
from lawder_edge.intervals import bootstrap_mean

Float = NDArray[np.float32]


def pair(id: str, *, rows: int, group: str | None = None, size: tuple[int, int] = (40, 50)) -> EvalPair:
    """A frame whose red channel is the truth: `rows` rows at the top."""
    labels = np.zeros(size, np.uint8)
    labels[:rows] = 1
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 0] = labels * 200
    return EvalPair(id, id.split("/")[0], group, frame, labels)


def perfect(frame: NDArray[np.uint8]) -> Float:
    return (frame[..., 0] / 255).astype(np.float32)


def one_row_more(frame: NDArray[np.uint8]) -> Float:
    red = perfect(frame)
    return np.maximum(red, np.roll(red, 1, axis=0))


def top_half(frame: NDArray[np.uint8]) -> Float:
    out = np.zeros(frame.shape[:2], np.float32)
    out[: len(out) // 2] = 1
    return out


PAIRS = [
    pair("a/1", rows=10, group="s1"),
    pair("a/2", rows=12, group="s1"),
    pair("a/3", rows=20, group="s2", size=(64, 32)),
    pair("b/1", rows=0),
    pair("b/2", rows=1, size=(80, 20)),
]


@pytest.fixture
def report() -> EvalReport:
    return evaluate(one_row_more, PAIRS, threshold=0.4)


def test_a_perfect_prediction_scores_one_everywhere() -> None:
    overall = evaluate(perfect, PAIRS, threshold=0.5).overall

    for metric in METRICS:
        interval = getattr(overall, metric)
        assert (interval.mean, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_each_image_is_scored_at_its_own_size_in_the_order_given(report: EvalReport) -> None:
    assert [s.id for s in report.scores] == [p.id for p in PAIRS]
    assert report.scores[0].dice == pytest.approx(2 * 10 / 21)
    assert report.scores[2].dice == pytest.approx(2 * 20 / 41)
    assert report.scores[4].dice == pytest.approx(2 / 3)


def test_the_summary_draws_known_sequences_together(report: EvalReport) -> None:
    dices = [s.dice for s in report.scores]

    assert report.overall.dice == bootstrap_mean(dices, groups=["s1", "s1", "s2", None, None])
    assert report.overall.n_clusters == 4
    assert [(d.dataset, d.summary.n, d.summary.n_clusters) for d in report.datasets] == [("a", 3, 2), ("b", 2, 2)]


def test_frames_without_polyp_are_counted_and_their_false_area_is_given() -> None:
    report = evaluate(top_half, PAIRS, threshold=0.5)

    assert report.overall.n_empty == 1
    assert report.overall.false_positives is not None
    assert report.overall.false_positives.area.mean == pytest.approx(0.5)
    assert report.datasets[0].summary.false_positives is None
    assert report.scores[3].dice == 0.0


def test_small_polyps_are_summarised_apart(report: EvalReport) -> None:
    small, large = report.overall.small, report.overall.large

    assert small is not None
    assert large is not None
    assert (small.n, large.n) == (1, 3)
    assert small.dice.mean == pytest.approx(2 / 3)
    assert report.datasets[0].summary.small is None


def test_a_polyp_of_just_two_percent_is_not_small() -> None:
    overall = evaluate(
        perfect, [pair("a/1", rows=1, size=(50, 40)), pair("a/2", rows=1, size=(51, 40))], threshold=0.5
    ).overall

    assert overall.small is not None
    assert overall.large is not None
    assert (overall.small.n, overall.large.n) == (1, 1)


def test_images_are_taken_one_at_a_time_and_progress_is_told() -> None:
    asked: list[str] = []
    told: list[tuple[int, int]] = []

    def stream() -> Iterator[EvalPair]:
        for p in PAIRS:
            assert len(asked) == len(told), "the image before must be finished first"
            asked.append(p.id)
            yield p

    evaluate(perfect, stream(), threshold=0.5, progress=lambda done, total: told.append((done, total)), total=5)

    assert told == [(i, 5) for i in range(1, 6)]


def test_progress_knows_the_length_of_a_list() -> None:
    told: list[tuple[int, int]] = []

    evaluate(perfect, PAIRS, threshold=0.5, progress=lambda done, total: told.append((done, total)))

    assert told[0] == (1, 5)


def test_several_classes_are_taken_by_the_largest_probability() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:4], labels[4:6] = 1, 2
    frame = np.repeat(labels[..., None], 3, axis=2)

    def classes(frame: NDArray[np.uint8]) -> Float:
        return np.stack([(frame[..., 0] == k) * 0.4 + 0.2 for k in range(3)]).astype(np.float32)

    report = evaluate(classes, [EvalPair("k/1", "k", None, frame, labels)], threshold=0.9)

    assert report.overall.dice.mean == 1.0
    with pytest.raises(BadInput, match="hold class 2 and the model predicts classes 0 to 1"):
        evaluate(lambda f: classes(f)[:2], [EvalPair("k/1", "k", None, frame, labels)], threshold=0.5)


def test_each_of_several_classes_is_told_where_it_is_and_where_it_is_claimed_without_being_there() -> None:
    shapes = np.zeros((3, 4, 8), np.uint8)
    shapes[:, :2, :4] = 1
    shapes[0, 3, :4] = 2
    frames = [np.full((4, 8, 3), i, np.uint8) for i in range(3)]

    def classes(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class 1 as it is; half of class 2 where it is, and a part of the picture in one of two where it is not."""
        labels = shapes[frame[0, 0, 0]].copy()
        labels[3] = 0
        labels[3, :2] = 2 if frame[0, 0, 0] < 2 else 0
        return np.stack([(labels == k).astype(np.float32) for k in range(3)])

    pairs = [EvalPair(f"k/{i}", "k", None, frames[i], shapes[i]) for i in range(3)]
    report = evaluate(classes, pairs, threshold=0.5)
    one, two = report.overall.classes
    assert (one.n, one.n_without, one.n_false) == (3, 0, 0)
    assert one.dice is not None
    assert one.dice.mean == 1
    assert (two.n, two.n_without, two.n_false) == (1, 2, 1)
    assert two.dice is not None
    assert two.dice.mean == pytest.approx(2 / 3)
    text = tables.to_markdown(report)
    assert "| k, class 2 | 1 | 0.6667 [0.6667, 0.6667] | 1 of 2 |" in text
    assert "2-class mIoU" not in text
    assert "threshold" not in tables.note(report)
    assert to_json(report)["classes"][1]["n_false"] == 1


def test_images_that_training_saw_are_marked_by_id_and_by_sequence() -> None:
    trained = TrainedOn(frozenset({"a/1", "z/9"}), frozenset({"s1"}), frozenset({"b/1"}))

    overlap = evaluate(perfect, PAIRS, threshold=0.5, trained_on=trained).overlap

    assert (overlap.known, overlap.trained, overlap.selected, overlap.sequence) == (True, ("a/1",), ("b/1",), ("a/2",))
    assert "1 of 5 images were trained on" in overlap.note
    assert "1 of 5 share a sequence" in overlap.note
    assert "higher than those on unseen patients" in overlap.note


def test_a_clean_list_and_an_unknown_training_list_are_told_apart() -> None:
    clean = evaluate(perfect, PAIRS, threshold=0.5, trained_on=TrainedOn(frozenset({"z/9"}))).overlap
    unknown = evaluate(perfect, PAIRS, threshold=0.5, trained_on=TrainedOn.of(ids=())).overlap

    assert clean.known
    assert clean.note.startswith("By their names, none of the 5 images and no sequence or patient of theirs")
    assert "but of which 2 of them are is not known" in clean.note
    nobody = find_overlap([("a/1", None)], TrainedOn(frozenset({"z/9"})))
    assert nobody.note.endswith("none of the 1 images was used in training; of which patients they are is not known.")
    assert not unknown.known
    assert "not known" in unknown.note


def test_what_else_weights_were_made_from_is_not_called_known() -> None:
    some = TrainedOn(frozenset({"z/9"}), unlisted=True)
    overlap = evaluate(perfect, PAIRS, threshold=0.5, trained_on=some).overlap

    assert not overlap.known
    assert "What else went into these weights is not recorded" in overlap.note


def test_an_image_without_a_group_shares_no_sequence() -> None:
    overlap = evaluate(
        perfect, PAIRS[3:], threshold=0.5, trained_on=TrainedOn(frozenset({"x"}), frozenset({"s1"}))
    ).overlap

    assert overlap.sequence == ()


def test_a_renamed_dataset_folder_hides_no_overlap() -> None:
    trained = TrainedOn(frozenset({"kvasir-seg/cju0qkwl35piu0993l0dewei2", "cvc-clinicdb/001"}))
    ids = [("TrainDataset/CJU0QKWL35piu0993l0dewei2", None), ("other/001", None)]
    overlap = find_overlap(ids, trained)
    assert overlap.trained == (ids[0][0],)


@pytest.mark.parametrize("stem", ["00000123", "IMG_0001234", "frame_000123", "Picture 000012"])
def test_a_recorders_counter_is_another_picture_in_another_folder(stem: str) -> None:
    overlap = find_overlap([(f"b/{stem}", None), (f"a/{stem}", None)], TrainedOn(frozenset({f"a/{stem}"})))
    assert overlap.trained == (f"a/{stem}",)


def test_a_sequence_that_the_epoch_was_chosen_on_is_told() -> None:
    trained = TrainedOn(frozenset({"a/1"}), frozenset({"s1"}), frozenset({"b/1"}), frozenset({"s2"}))
    overlap = find_overlap([("c/1", "s1"), ("c/2", "s2"), ("c/3", "s3")], trained)
    assert (overlap.trained, overlap.sequence, overlap.selected) == ((), ("c/1",), ("c/2",))


def test_the_json_has_the_promised_keys_and_no_nan(report: EvalReport) -> None:
    values = json.loads(json.dumps(to_json(report), allow_nan=False))

    assert set(METRICS) | {"n", "n_empty", "threshold", "datasets", "overlap"} <= set(values)
    assert set(values["dice"]) == {"mean", "low", "high"}
    assert values["dice"]["mean"] == pytest.approx(report.overall.dice.mean, abs=1e-6)
    assert values["threshold"] == 0.4
    assert values["datasets"]["a"]["n"] == 3
    assert values["datasets"]["a"]["false_positives"] is None
    assert values["false_positives"]["worst_id"] == "b/1"
    assert values["sizes"]["small"]["n"] == 1
    assert values["overlap"]["known"] is False
    assert "images" not in values


def test_the_json_holds_every_image_when_asked(report: EvalReport) -> None:
    images = to_json(report, per_image=True)["images"]

    assert [i["id"] for i in images] == [p.id for p in PAIRS]
    assert images[3]["empty_truth"] is True
    assert images[0]["group"] == "s1"


def test_the_same_images_give_the_same_report() -> None:
    first, second = (evaluate(one_row_more, PAIRS, threshold=0.4) for _ in range(2))

    assert first == second


def test_a_part_of_a_report_is_summarised_as_if_it_were_evaluated_alone(report: EvalReport) -> None:
    trained = TrainedOn(frozenset({"a/1"}))
    alone = evaluate(one_row_more, PAIRS[:3], threshold=0.4, trained_on=trained)
    assert report_of(report.scores[:3], threshold=0.4, trained_on=trained) == alone


def test_no_images_and_an_image_given_twice_are_refused() -> None:
    with pytest.raises(BadInput, match="no image to evaluate"):
        evaluate(perfect, [], threshold=0.5)
    with pytest.raises(BadInput, match="a/1 stands twice"):
        evaluate(perfect, [PAIRS[0], PAIRS[0]], threshold=0.5)


def test_a_prediction_of_another_size_or_not_finite_is_named() -> None:
    with pytest.raises(BadInput, match=r"a/1: the prediction is \(20, 50\)"):
        evaluate(lambda f: perfect(f)[::2], PAIRS, threshold=0.5)
    with pytest.raises(BadInput, match=r"a/1: .*not finite"):
        evaluate(lambda f: perfect(f) * np.float32(np.nan), PAIRS, threshold=0.5)
