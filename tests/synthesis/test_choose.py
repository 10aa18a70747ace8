"""Which pictures a score keeps."""

from __future__ import annotations

import pytest

from lawder_edge.data.provenance import ManifestRow, hash_files
from lawder_edge.errors import BadInput
from lawder_edge.intervals import Interval
from lawder_edge.synthesis.choose import KeepRule, choose, parse_keep
from lawder_edge.synthesis.score import Fidelity, Judged, Memorised, Neighbour, QualityReport

ONE = Interval(1, 1, 1)
DICE = (0.9, 0.4, 0.8, 0.0, 0.8, 0.95)
ROWS = tuple(ManifestRow(f"s_{i}.png", i, "procedural", f"{i}0", f"{i}1") for i in range(len(DICE)))


def _report(*, memorised: tuple[int, ...] = (), judge: bool = True) -> QualityReport:
    neighbours = tuple(
        Neighbour(f"fakes/s_{i}", "real/1", 0.1 * (i + 1), 20.0, "real/1", 0.9) for i in range(len(DICE))
    )
    pictures = tuple(Judged(f"fakes/s_{i}", value) for i, value in enumerate(DICE))
    return QualityReport(
        "coarse", False, len(DICE), 4, 4, (),
        Memorised(0.05, 0.5, 0.3, 0.3, tuple(neighbours[i] for i in memorised), neighbours),
        Fidelity("order (ab)", ONE, ONE, pictures) if judge else None,
    )  # fmt: skip


def _kept(rule: KeepRule | None, *, memorised: tuple[int, ...] = (), reject: bool = False) -> list[int]:
    chosen = choose(_report(memorised=memorised), ROWS, keep=rule, reject_memorised=reject)
    return [i for i, row in enumerate(chosen.pictures) if row.kept]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("75%", KeepRule(share=0.75)),
        ("100%", KeepRule(share=1)),
        (" 0.5 ", KeepRule(least_dice=0.5)),
        ("1", KeepRule(least_dice=1)),
        ("0.5%", KeepRule(share=0.005)),
    ],
)
def test_a_percentage_is_a_share_and_a_bare_number_a_dice(text: str, rule: KeepRule) -> None:
    assert parse_keep(text) == rule


@pytest.mark.parametrize("text", ["75", "0", "0%", "101%", "-0.5", "nan", "inf", "half", "", "%", "75%%"])
def test_a_number_that_can_be_neither_says_what_both_look_like(text: str) -> None:
    with pytest.raises(
        BadInput, match=r"--keep .*: wanted a share of the pictures such as 75%, or the least mask Dice"
    ):
        parse_keep(text)


def test_a_least_dice_keeps_what_reaches_it() -> None:
    assert _kept(KeepRule(least_dice=0.8)) == [0, 2, 4, 5]


def test_a_share_keeps_so_many_of_the_best_and_equal_ones_by_name() -> None:
    assert _kept(KeepRule(share=0.5)) == [0, 2, 5]
    assert _kept(KeepRule(share=0.01)) == [5]
    assert _kept(KeepRule(share=1)) == [0, 1, 2, 3, 4, 5]


def test_memorised_pictures_are_taken_away_and_bring_no_others_in() -> None:
    assert _kept(None, memorised=(5, 0), reject=True) == [1, 2, 3, 4]
    assert _kept(KeepRule(share=0.5), memorised=(5, 0), reject=True) == [2]
    # Flagged and told of, but not asked to go.
    assert _kept(KeepRule(share=0.5), memorised=(5, 0)) == [0, 2, 5]


def test_the_list_tells_of_every_picture_what_was_found_and_by_what_rule_it_was_kept() -> None:
    chosen = choose(_report(memorised=(1,)), ROWS, keep=KeepRule(least_dice=0.7), reject_memorised=True)
    assert chosen.rule == "mask Dice of 0.7 or more by order (ab), no memorised ones by coarse and by pixels"
    assert chosen.drawn_sha256 == hash_files(ROWS) != hash_files(ROWS[:-1])
    assert [row.name for row in chosen.pictures] == [row.name for row in ROWS]
    assert [row.dice for row in chosen.pictures] == list(DICE)
    assert [row.memorised for row in chosen.pictures] == [i == 1 for i in range(len(DICE))]
    assert [row.distance for row in chosen.pictures] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_without_a_judge_memorised_pictures_can_be_taken_away_and_no_others() -> None:
    chosen = choose(_report(memorised=(2,), judge=False), ROWS, keep=None, reject_memorised=True)
    assert (chosen.rule, len(chosen.names)) == ("no memorised ones by coarse and by pixels", 5)
    assert {row.dice for row in chosen.pictures} == {None}
    with pytest.raises(BadInput, match="give --judge"):
        choose(_report(judge=False), ROWS, keep=KeepRule(share=0.5), reject_memorised=True)


def test_a_choice_that_keeps_nothing_or_asks_for_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"none of 6 pictures passes .*The highest Dice is 0\.950\. Ask for less"):
        _kept(KeepRule(least_dice=0.99))
    with pytest.raises(BadInput, match="6 are memorised"):
        _kept(None, memorised=tuple(range(6)), reject=True)
    with pytest.raises(BadInput, match="nothing to choose by"):
        _kept(None)
