"""A benchmark against an earlier one."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lawder_edge.bench.compare import changes, check_comparable, exceeded, parse_limit, read_saved, unmeasured
from lawder_edge.bench.report import to_json
from lawder_edge.bench.rows import BenchReport, Row
from lawder_edge.errors import BadInput


def slower(report: BenchReport, factor: float) -> BenchReport:
    """The first row as if it took `factor` times as long."""
    row = report.rows[0]
    assert row.measured is not None
    infer = dataclasses.replace(row.measured.infer, p95_ms=row.measured.infer.p95_ms * factor)
    changed = Row(row.source, "ok", measured=dataclasses.replace(row.measured, infer=infer))
    return dataclasses.replace(report, rows=(changed, *report.rows[1:]))


def test_a_row_that_grew_beyond_its_limit_is_named(bench_report: BenchReport) -> None:
    old = read_saved(to_json(bench_report), source="old.json")
    limits = [parse_limit("p95>+10%"), parse_limit("memory>5%")]
    assert exceeded(changes(old, slower(bench_report, 1.09), limits), limits) == ()
    (said,) = exceeded(changes(old, slower(bench_report, 1.2), limits), limits)
    assert said.startswith("good: infer.p95 grew by 20.0 %")


def test_numbers_that_shrank_break_no_limit(bench_report: BenchReport) -> None:
    old = read_saved(to_json(bench_report), source="old.json")
    limits = [parse_limit("p95>0%")]
    found = changes(old, slower(bench_report, 0.5), limits)
    assert [round(c.percent) for c in found if (c.source, c.name) == ("good", "infer.p95")] == [-50]
    assert exceeded(found, limits) == ()


def test_a_report_from_before_memory_by_plan_is_compared_as_ever(bench_report: BenchReport) -> None:
    document = json.loads(to_json(bench_report))
    for row in document["rows"]:
        for name in ("peak_activations", "peak_activation_bytes", "scalar_bytes", "arena_bytes"):
            row.pop(name, None)
    old = read_saved(json.dumps(document), source="old.json")
    found = changes(old, bench_report, [parse_limit("memory>5%")])
    assert {c.name for c in found if c.source == "good"} == {"infer.p50", "infer.p95", "memory.added_bytes"}


def test_a_number_that_was_measured_before_and_is_no_more_is_told_where_it_has_a_limit(
    bench_report: BenchReport,
) -> None:
    old = read_saved(to_json(bench_report), source="old.json")
    limits = [parse_limit("p95>+10%")]
    assert unmeasured(old, bench_report, limits) == ()
    gone = tuple(
        Row(r.source, "unavailable", "no runtime here") if r.source == "good" else r for r in bench_report.rows
    )
    without = dataclasses.replace(bench_report, rows=gone)
    assert unmeasured(old, without, limits) == ("good: is unavailable and was measured before",)
    assert unmeasured(old, without, []) == ()
    first, *others = bench_report.rows
    assert first.measured is not None
    without_cpu = dataclasses.replace(first, measured=dataclasses.replace(first.measured, cpu=None))
    fewer = dataclasses.replace(bench_report, rows=(without_cpu, *others))
    (said,) = unmeasured(old, fewer, [parse_limit("cpu.p95>+10%")])
    assert said == "good: cpu.p95 was not measured and was before"
    assert unmeasured(old, dataclasses.replace(bench_report, rows=()), limits) == ()


@pytest.mark.parametrize(
    ("text", "path", "percent"),
    [
        ("p95>+10%", ("infer", "p95"), 10.0),
        (" frame.p99 > 2.5% ", ("frame", "p99"), 2.5),
        ("memory>5%", ("memory", "added_bytes"), 5.0),
        ("file>0%", ("size_bytes",), 0.0),
    ],
)
def test_limits_are_read(text: str, path: tuple[str, ...], percent: float) -> None:
    limit = parse_limit(text)
    assert (limit.path, limit.percent) == (path, percent)


@pytest.mark.parametrize("text", ["p95", "p95>10", "p95<10%", "p42>10%", "decode.p95>10%", "frame.memory>5%", ""])
def test_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match=r"such as p95>\+10%"):
        parse_limit(text)


def test_another_machine_or_another_way_of_measuring_is_refused_with_what_differs(bench_report: BenchReport) -> None:
    old = read_saved(to_json(bench_report), source="old.json")
    machine, spec = bench_report.machine, bench_report.spec
    check_comparable(old, machine, spec, source="old.json")
    with pytest.raises(BadInput, match="cpu was 'Example CPU' and is 'Other CPU'"):
        check_comparable(old, dataclasses.replace(machine, cpu="Other CPU"), spec, source="old.json")
    with pytest.raises(BadInput, match="threads was 1 and is 2"):
        check_comparable(old, machine, dataclasses.replace(spec, threads=2), source="old.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 3}', '{"rows": [], "schema_version": 2}'])
def test_a_file_that_is_no_benchmark_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"old\.json"):
        read_saved(text, source="old.json")


def test_a_benchmark_of_another_schema_is_refused(bench_report: BenchReport) -> None:
    document = json.loads(to_json(bench_report)) | {"schema_version": 1}
    with pytest.raises(BadInput, match="schema version 1, wanted 2"):
        read_saved(json.dumps(document), source="old.json")
