"""The page, and the charts on it."""

from __future__ import annotations

import dataclasses
import itertools
import re
from xml.etree import ElementTree

import pytest

from lawder_edge.bench import charts
from lawder_edge.bench.page import to_html
from lawder_edge.bench.rows import BenchReport
from lawder_edge.bench.svg import Axis, Point, axis, plot


def test_the_page_holds_table_charts_and_warnings_and_asks_for_nothing_outside(bench_report: BenchReport) -> None:
    page = to_html(bench_report)
    assert page.count("<svg") == 4
    for words in ("Example CPU", "something | doubtful", "its process was killed by SIGSEGV", "0.8100"):
        assert words in page
    # A namespace is a name and not an address.
    addresses = re.findall(r"https?://[^\s\"'<]+", page.replace("http://www.w3.org/2000/svg", ""))
    assert addresses == []
    assert not re.search(r"<(?:link|script|img)[^>]*(?:src|href)=\"(?!data:)", page)


def test_what_rows_are_called_cannot_break_the_page(bench_report: BenchReport) -> None:
    rows = tuple(dataclasses.replace(row, source=f"<script>{row.source}") for row in bench_report.rows)
    page = to_html(dataclasses.replace(bench_report, rows=rows))
    assert page.count("<script>") == 1


@pytest.mark.parametrize("chart", [charts.latency_cdf, charts.pareto, charts.roofline, charts.memory])
def test_every_chart_is_well_formed_and_names_its_rows(chart, bench_report: BenchReport) -> None:  # type: ignore[no-untyped-def]
    root = ElementTree.fromstring(f"<div>{chart(bench_report)}</div>")
    text = "".join(root.itertext())
    assert "good" in text
    assert "fast" in text


def test_a_benchmark_without_numbers_is_a_page_without_charts(bench_report: BenchReport) -> None:
    page = to_html(dataclasses.replace(bench_report, rows=bench_report.rows[-1:], ratios=()))
    assert "<svg" not in page
    assert "SIGSEGV" in page


def test_what_another_row_beats_in_both_is_not_on_the_front() -> None:
    points = [Point(n, x, y, "") for n, x, y in (("a", 1, 0.5), ("b", 2, 0.4), ("c", 3, 0.8), ("d", 3, 0.7))]
    assert [p.name for p in charts.front_of(points)] == ["a", "c"]


def test_names_of_points_that_stand_together_cover_neither_each_other_nor_a_mark() -> None:
    points = [Point(f"a long name {i}", 1 + i / 1000, 0.5, "red") for i in range(8)]
    chart = plot(Axis("", 0, 10), Axis("", 0, 1), points=points, title="")
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)" fill="red">', chart)
    assert len(found) == 8
    places = {(left, top) for left, top, _ in found}
    assert len(places) == 8
    tops = sorted(float(top) for left, top, anchor in found if anchor == "start")
    assert all(b - a >= 12 for a, b in itertools.pairwise(tops))


def test_ticks_are_round_numbers_between_the_ends() -> None:
    assert Axis("", 0.3, 30, log=True).ticks() == pytest.approx((0.5, 1, 2, 5, 10, 20))
    assert Axis("", 0.71, 0.79).ticks() == pytest.approx((0.72, 0.74, 0.76, 0.78))
    one = axis("", [5.0])
    assert one.low < 5 < one.high
    assert one.ticks()
