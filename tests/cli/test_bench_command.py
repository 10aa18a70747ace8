"""`lawder-edge bench` with rows that are already measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lawder_edge.bench import run
from lawder_edge.bench.latency import WarmUp, summarize
from lawder_edge.bench.machine import Machine, describe_machine
from lawder_edge.bench.memory import PeakMemory
from lawder_edge.bench.rows import Artifact, BenchReport, BenchSpec, Measured, Noise, Row
from lawder_edge.cli.bench import bench
from lawder_edge.errors import BadInput, LawderError, OutputExists, Unavailable
from lawder_edge.exporting import bundled
from lawder_edge.exporting.kept import Wanted


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What was asked to be measured; every row comes back as failed, its runtime unavailable."""
    asked: list[Sequence[str]] = []
    machine: Machine = describe_machine()

    def fake(sources: Sequence[str], spec: BenchSpec, *, on_step: Callable[[int, int, str], None]) -> BenchReport:
        asked.append(sources)
        rows = tuple(Row(s, "unavailable", "no fakert here", 4, log="dlopen failed") for s in sources)
        return BenchReport(machine, spec, Noise(1.0, 1.0, 1.0, 1, (), None), None, rows, (), ())

    monkeypatch.setattr(run, "bench", fake)
    return asked


def test_the_result_goes_to_stdout_and_what_rows_wrote_to_stderr(
    calls: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(("a", "b"), format="json") == 4
    said = capsys.readouterr()
    assert [row["source"] for row in json.loads(said.out)["rows"]] == ["a", "b"]
    assert "dlopen failed" in said.err


def test_the_table_tells_why_a_row_is_empty(calls: list[Sequence[str]], capsys: pytest.CaptureFixture[str]) -> None:
    bench(("a",))
    out = capsys.readouterr().out
    assert "p50 ms" in out
    assert "a: unavailable: no fakert here" in out


@pytest.mark.parametrize("format", ["table", "json", "csv", "md"])
def test_a_file_gets_the_format_and_stdout_the_table(
    format: str, calls: list[Sequence[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "result"
    bench(("a",), format=format, out=out)  # type: ignore[arg-type]
    assert "no fakert here" in out.read_text()
    assert "FLOPs = 2 x MACs" in capsys.readouterr().out


def test_an_existing_file_is_refused_before_anything_is_measured(calls: list[Sequence[str]], tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    out.write_text("precious")
    with pytest.raises(OutputExists, match="--overwrite"):
        bench(("a",), out=out)
    assert calls == []
    assert out.read_text() == "precious"
    bench(("a",), out=out, overwrite=True)
    assert out.read_text() != "precious"


def test_folders_of_files_are_made_before_anything_is_measured(
    calls: list[Sequence[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "new" / "x.json", tmp_path / "newer" / "x.html"]
    measure, there = run.bench, []

    def seen(*what: Any, **how: Any) -> BenchReport:
        there.extend(file.parent.is_dir() for file in files)
        return measure(*what, **how)

    monkeypatch.setattr(run, "bench", seen)
    bench(("a",), out=files[0], html=files[1])
    assert there == [True, True]
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        bench(("b",), out=tmp_path / "file" / "x.json")
    assert calls == [("a",)]


def test_no_model_at_all_means_everything_that_is_bundled(
    calls: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "bundled_sources", lambda tell: ("order", "somewhere/order-onnx-fp32"))
    bench(())
    assert calls == [("order", "somewhere/order-onnx-fp32")]


def test_targets_that_cannot_be_exported_are_told_and_are_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Wanted] = []
    told: list[str] = []

    def kept(wanted: Sequence[Wanted], *, cache: Path, **tell: object) -> tuple[Path | LawderError, ...]:
        asked.extend(wanted)
        refused = Unavailable("no such runtime here")
        return tuple(refused if one.precision == "int8" else cache / one.target for one in wanted)

    monkeypatch.setattr(bundled, "kept_bundles", kept)
    sources = bundled.bundled_sources(tmp_path, tell=told.append)
    assert sources[0] == "order"
    assert str(tmp_path / "onnx") in sources
    assert ("onnx", "int8") in [(one.target, one.precision) for one in asked]
    assert all(("int8" in one.weights.name) == (one.precision == "int8") for one in asked)
    assert len(sources) == 1 + sum(one.precision == "fp32" for one in asked)
    assert "left out onnx int8: no such runtime here" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_iters": 0}, "0 calls"),
        ({"include": "pre,decode"}, "--include"),
        ({"fail_if": ("p95>+10%",)}, "--compare"),
        ({"fail_if": ("p95 is fine",)}, "no rule"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_measured(
    options: dict[str, object], said: str, calls: list[Sequence[str]]
) -> None:
    with pytest.raises(BadInput, match=said):
        bench(("a",), **options)  # type: ignore[arg-type]
    assert calls == []


def saved(tmp_path: Path, *, cpu: str | None = None) -> Path:
    """An earlier benchmark of "a" with 10 ms at every percentile, on this machine or another."""
    machine = dataclasses.replace(describe_machine(), cpu=cpu or describe_machine().cpu)
    row = {"source": "a", "status": "ok", "infer": {"p50": 10.0, "p95": 10.0}, "load_ms": 100.0}
    spec = dataclasses.asdict(BenchSpec())
    file = tmp_path / "old.json"
    file.write_text(
        json.dumps({"schema_version": 2, "machine": dataclasses.asdict(machine), "spec": spec, "rows": [row]})
    )
    return file


def test_what_grew_beyond_its_limit_is_exit_code_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(sources: Sequence[str], spec: BenchSpec, *, on_step: object) -> BenchReport:
        stats = summarize([[12.0, 12.0]], WarmUp(20.0, 20, True))
        artifact = Artifact("fakert", "unet", "fp32", "a.fake", "", None)
        memory = PeakMemory(0, 1000)
        measured = Measured(artifact, (64, 64), 3, 1, None, 50.0, stats, None, stats, stats, stats, memory)
        noise = Noise(1.0, 1.0, 1.0, 1, (), None)
        return BenchReport(describe_machine(), spec, noise, None, (Row("a", "ok", measured=measured),), (), ())

    monkeypatch.setattr(run, "bench", fake)
    old = saved(tmp_path)
    assert bench(("a",), compare=old, fail_if=("p95>+25%",)) == 0
    assert "infer.p95 10 to 12, +20.0 %" in capsys.readouterr().err
    assert bench(("a",), compare=old, fail_if=("p95>+10%",)) == 5
    assert "allowed p95>+10%" in capsys.readouterr().err


def test_another_machine_is_refused_before_anything_is_measured_unless_forced(
    calls: list[Sequence[str]], tmp_path: Path
) -> None:
    old = saved(tmp_path, cpu="Another CPU")
    with pytest.raises(BadInput, match="Another CPU"):
        bench(("a",), compare=old)
    assert calls == []
    with pytest.raises(BadInput, match="no row in common"):
        bench(("a",), compare=old, force=True)
    assert calls == [("a",)]
