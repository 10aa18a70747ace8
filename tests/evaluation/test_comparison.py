"""Networks beside each other: differences with a known answer, size classes, and what the report says of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lawder_edge.errors import BadInput
from lawder_edge.evaluation.comparison import (
    NO_WEIGHTS,
    ListReport,
    NetworkReport,
    dice_by_size,
    difference,
    kept_words,
    markdown,
    to_values,
)
from lawder_edge.evaluation.evaluate import EvalReport, report_of
from lawder_edge.evaluation.metrics import ImageScores
from lawder_edge.evaluation.overlap import TrainedOn


def scores(
    *dices: float, areas: Sequence[float] | None = None, groups: Sequence[str] | None = None
) -> list[ImageScores]:
    return [
        ImageScores(
            f"d/{i}", "d", groups[i] if groups else None, d, d, d, d, d, d, areas[i] if areas else 0.1, 0.1, False
        )
        for i, d in enumerate(dices)
    ]


def report(*dices: float, trained: str = "x/1", groups: Sequence[str] | None = None) -> EvalReport:
    return report_of(scores(*dices, groups=groups), threshold=0.5, trained_on=TrainedOn(frozenset({trained})))


def clear(*areas: float) -> EvalReport:
    """Of images with nothing to find, so much of which was claimed."""
    empty = [
        replace(s, area_fraction=0.0, predicted_area_fraction=area, empty_truth=True, dice=float(area == 0))
        for s, area in zip(scores(*areas), areas, strict=True)
    ]
    return report_of(empty, threshold=0.5)


def listed(name: str, *reports: EvalReport, missing: tuple[str, ...] = (), part: bool = False) -> ListReport:
    networks = tuple(NetworkReport(f"net{i}", 1000 + i, r) for i, r in enumerate(reports))
    return ListReport(name, f"What {name} tests.", networks, missing, part)


def test_a_difference_is_paired_and_draws_sequences_whole() -> None:
    groups = ["a", "a", "b", "b"]
    apart = difference(report(0.5, 0.7, 0.1, 0.9), report(0.4, 0.6, 0.2, 1.0))
    whole = difference(report(0.5, 0.7, 0.1, 0.9, groups=groups), report(0.4, 0.6, 0.2, 1.0, groups=groups))
    assert apart.mean == pytest.approx(0.0)
    assert (whole.low, whole.high) == pytest.approx((-0.1, 0.1))
    assert apart.high < 0.1


def test_lists_that_differ_have_no_paired_difference() -> None:
    with pytest.raises(BadInput, match="lists of 2 and 1 that differ"):
        difference(report(0.5, 0.7), report(0.5))


def test_dice_is_told_apart_by_size_and_every_polyp_is_in_one_class() -> None:
    found = dice_by_size(scores(0.1, 0.2, 0.3, 0.9, areas=(0.0199, 0.02, 0.0999, 1.0)), edges=(0.02, 0.1))
    assert [(s.low, s.high, s.n) for s in found] == [(0.0, 0.02, 1), (0.02, 0.1, 2), (0.1, 1.0, 1)]
    assert [s.dice.mean for s in found if s.dice] == pytest.approx([0.1, 0.25, 0.9])
    assert found[1].mean_area == pytest.approx(0.05995)


def test_a_size_without_images_has_no_dice_and_empty_masks_no_size() -> None:
    found = dice_by_size([*scores(0.5), *clear(0.0, 0.3).scores], edges=(0.02,))
    assert [(s.n, s.mean_area, s.dice is None) for s in found] == [(0, None, True), (1, 0.1, False)]


def test_a_section_holds_each_network_against_the_first() -> None:
    text = markdown([listed("Kvasir", report(0.9, 0.7), report(0.8, 0.4), missing=("later",))])
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert "| 1,000 | 0.8000 [0.7000, 0.9000] |" in rows["net0"] + text
    assert "+0.2000 [+0.1000, +0.3000] |" in text
    assert f"| later | {NO_WEIGHTS} |" in text
    assert "10 to 20 %, n=2" in text
    assert "below 2 %" not in text


def test_what_networks_have_seen_is_told_once_where_it_is_the_same() -> None:
    same = markdown([listed("Kvasir", report(0.9), report(0.8))])
    other = markdown([listed("Kvasir", report(0.9), report(0.8, trained="d/0"))])
    assert same.count("was used in training") == 1
    assert "net0: By their names, none" in other
    assert "net1: 1 of 1 images were trained on" in other


def test_a_list_that_no_network_can_be_tested_on_says_so_and_a_part_stands_below_its_list() -> None:
    text = markdown([listed("By sequence", missing=("order_seqsplit",)), listed("Half", report(0.5), part=True)])
    assert f"| order_seqsplit | {NO_WEIGHTS} |" in text
    assert "\n### Half\n" in text
    assert text.startswith("## By sequence\n")


def test_images_with_nothing_to_find_share_one_table_of_false_area() -> None:
    text = markdown([listed("crops", clear(0.0, 0.5), missing=("later",)), listed("Kvasir", report(0.5))])
    scored, claimed = text.split("## With nothing to find")
    assert "crops" not in scored
    assert "| crops | net0 | 2 | 0.2500 [0.0000, 0.5000] |" in claimed
    assert f"| crops | later | {NO_WEIGHTS} |" in claimed
    widths = {line.count("|") for line in claimed.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_persons_words_are_kept_and_the_rest_is_not() -> None:
    assert kept_words("# Old\n\n| 1 |\n\n## What it says\n\nWords.\n") == "\n## What it says\n\nWords.\n"
    assert kept_words("# Old\n\nWhat it says: no heading.\n") == ""


def test_values_hold_every_image_once_and_no_nan() -> None:
    found = [
        listed("Kvasir", report(0.9, 0.7), report(0.8, 0.4), missing=("later",)),
        listed("half", report(0.9), part=True),
        listed("crops", clear(0.25)),
    ]
    values = json.loads(json.dumps(to_values(found), allow_nan=False))
    networks = values["Kvasir"]["networks"]
    assert [image["dice"] for image in networks["net1"]["images"]] == [0.8, 0.4]
    assert networks["net1"]["reference_less_this"]["mean"] == pytest.approx(0.2)
    assert [size["n"] for size in networks["net0"]["by_size"]] == [0, 0, 0, 2, 0]
    assert values["Kvasir"]["missing"] == ["later"]
    assert "images" not in values["half"]["networks"]["net0"]
    assert values["crops"]["networks"]["net0"]["false_positives"]["worst"] == 0.25
    assert "reference_less_this" not in values["crops"]["networks"]["net0"]
