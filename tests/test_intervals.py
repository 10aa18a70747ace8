from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lawder_edge.errors import BadInput
from lawder_edge.intervals import (
    Interval,
    QuantileInterval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_quantile,
    paired_runs,
)


def clustered(rng: np.random.Generator, *, clusters: int, size: int) -> tuple[NDArray[np.float64], list[str | None]]:
    """Values whose spread is between clusters far more than within."""
    centres = rng.normal(0.7, 0.15, clusters)
    values = (centres[:, None] + rng.normal(0, 0.02, (clusters, size))).ravel()
    return values, [f"sequence-{c}" for c in range(clusters) for _ in range(size)]


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_whole_sequences_drawn_together_widen_the_interval_as_theory_says() -> None:
    values, groups = clustered(np.random.default_rng(0), clusters=20, size=25)

    naive, honest = bootstrap_mean(values), bootstrap_mean(values, groups=groups)

    assert naive.mean == honest.mean == pytest.approx(values.mean())
    # Fully correlated within clusters of 25, the standard error grows fivefold.
    assert width(honest) / width(naive) == pytest.approx(5, rel=0.25)


def test_the_interval_covers_the_true_mean_about_as_often_as_its_level() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        values, groups = clustered(rng, clusters=40, size=3)
        interval = bootstrap_mean(values, groups=groups, seed=trial, resamples=400)
        hits += interval.low <= 0.7 <= interval.high
    # 95 % nominal; percentile intervals of 40 clusters fall a point or two short, and 300 trials spread by 1.3.
    assert 0.89 <= hits / 300 <= 0.985


def test_the_interval_of_independent_values_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(2).beta(8, 2, 400)

    interval = bootstrap_mean(values, resamples=4000)

    assert width(interval) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_images_without_a_group_are_clusters_of_their_own() -> None:
    values = np.random.default_rng(3).random(50)

    assert bootstrap_mean(values, groups=[None] * 50) == bootstrap_mean(values)
    assert bootstrap_mean(values, groups=[f"s{i}" for i in range(50)]) == bootstrap_mean(values)


def test_clusters_of_unequal_size_keep_the_plain_mean_and_weigh_by_images() -> None:
    interval = bootstrap_mean([1.0] * 9 + [0.0], groups=["long"] * 9 + ["short"])

    assert interval == Interval(pytest.approx(0.9), pytest.approx(0.0), pytest.approx(1.0))


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(4).random(30)

    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)


def test_the_result_does_not_depend_on_the_pieces_that_it_is_drawn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).random(30)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("lawder_edge.intervals._CHUNK", 90)

    assert bootstrap_mean(values) == whole


def test_equal_values_and_a_single_value_give_an_interval_of_no_width() -> None:
    assert bootstrap_mean(np.full(7, 0.1)) == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert bootstrap_mean([0.4]) == Interval(0.4, 0.4, 0.4)


def test_a_wider_level_gives_a_wider_interval() -> None:
    values = np.random.default_rng(7).random(100)

    assert width(bootstrap_mean(values, level=0.99)) > width(bootstrap_mean(values, level=0.8))


def test_a_small_paired_drop_shows_where_separate_intervals_overlap() -> None:
    rng = np.random.default_rng(8)
    original = rng.beta(5, 2, 200)
    exported = original - 0.005 + rng.normal(0, 0.002, 200)

    drop = bootstrap_difference(original, exported)

    assert drop.mean == pytest.approx(0.005, abs=5e-4)
    assert 0 < drop.low < drop.high < 0.01
    assert bootstrap_mean(exported).high > bootstrap_mean(original).low


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least one value"),
        ([[0.1, 0.2]], {}, "flat list"),
        ([0.1, float("nan")], {}, "1 of 2 values are not finite"),
        ([0.1, 0.2], {"groups": ["a"]}, "1 groups for 2 values"),
        ([0.1, 0.2], {"resamples": 0}, "resamples is 0"),
        ([0.1, 0.2], {"level": 95}, "level is 95"),
    ],
)
def test_input_that_has_no_interval_is_refused(values: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        bootstrap_mean(values, **options)  # type: ignore[arg-type]


def test_a_paired_difference_needs_as_many_values_on_both_sides() -> None:
    with pytest.raises(BadInput, match="same images"):
        bootstrap_difference([0.1, 0.2], [0.1])


def test_the_quantile_of_whole_sequences_is_that_of_a_resample_written_out() -> None:
    values, groups = [0.0, 0.1, 0.2, 0.9, 0.3], ["a", "a", "b", "b", None]
    members = [[0.0, 0.1], [0.2, 0.9], [0.3]]
    rng = np.random.default_rng(3)
    drawn = [sorted(v for c in rng.integers(0, 3, 3) for v in members[c]) for _ in range(500)]
    expected = [d[int(np.ceil(0.6 * len(d) - 1e-9)) - 1] for d in drawn]
    found = bootstrap_quantile(values, 0.6, groups=groups, seed=3, resamples=500)
    assert found == QuantileInterval(0.2, *np.quantile(expected, [0.025, 0.975]))


def test_a_quantile_covers_the_true_one_about_as_often_as_its_level() -> None:
    rng = np.random.default_rng(0)
    found = [bootstrap_quantile(rng.uniform(size=100), 0.8, seed=i, resamples=300) for i in range(200)]
    assert 0.88 <= np.mean([f.low <= 0.8 <= f.high for f in found]) <= 0.99


def test_a_quantile_in_pieces_is_the_same_and_one_of_no_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).uniform(size=40)
    whole = bootstrap_quantile(values, 0.95)
    monkeypatch.setattr("lawder_edge.intervals._CHUNK", 4000)
    assert bootstrap_quantile(values, 0.95) == whole
    with pytest.raises(BadInput, match="quantile is 1"):
        bootstrap_quantile(values, 1.0)


def test_paired_runs_are_a_paired_t_test() -> None:
    from scipy import stats

    a, b = [0.71, 0.68, 0.74, 0.70], [0.69, 0.67, 0.70, 0.71]
    found = paired_runs(a, b)
    theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose((found.mean, found.low, found.high), (0.015, theirs.low, theirs.high))
    assert found.runs == 4


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    unit = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]) * np.sqrt(5 / 6)
    least = paired_runs(unit, np.zeros(6)).detectable
    tried = [paired_runs(rng.normal(least, 1, 6), np.zeros(6)) for _ in range(400)]
    assert 0.74 <= np.mean([t.low > 0 for t in tried]) <= 0.86


def test_one_run_is_no_pair() -> None:
    with pytest.raises(BadInput, match="2 or more"):
        paired_runs([0.7], [0.6])
    with pytest.raises(BadInput, match="both sides"):
        paired_runs([0.7, 0.6], [0.6])
