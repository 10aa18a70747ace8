"""`lawder-edge doctor` on this machine."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lawder_edge.cli.doctor import doctor
from lawder_edge.doctor import health
from lawder_edge.doctor.health import Health


def test_the_table_names_machine_packages_and_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(quick=True) == 0
    out = capsys.readouterr().out
    for word in ("CPU", "governor", "Python", "torch", "onnxruntime", "run here", "onnx"):
        assert word in out


def test_json_is_whole_and_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(quick=True, format="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert found["can_run"] is True
    assert {t["name"] for t in found["targets"]} >= {"onnx"}
    assert found["machine"]["cores"] >= 1
    assert found["accelerators"] is None


def test_a_machine_that_can_run_nothing_gives_exit_code_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bare(*, quick: bool) -> Health:
        here = real(quick=True)
        targets = tuple(dataclasses.replace(t, can_run=False, missing=t.missing or ("it",)) for t in here.targets)
        packages = tuple(dataclasses.replace(p, problem=health.NOT_INSTALLED) for p in here.packages)
        return dataclasses.replace(here, targets=targets, packages=packages, hints=("install something",))

    real = health.examine
    monkeypatch.setattr(health, "examine", bare)
    assert doctor() == 4
    assert "hint: install something" in capsys.readouterr().out


@pytest.mark.slow
def test_a_full_look_imports_everything_elsewhere_and_asks_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(format="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found["accelerators"], list)
    assert all(not weights["problem"] for weights in found["weights"])
