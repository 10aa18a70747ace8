"""What `doctor` concludes from what it finds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lawder_edge.bench.machine import Machine
from lawder_edge.doctor.health import (
    NOT_INSTALLED,
    PackageState,
    check_packages,
    diagnose,
    find_problem,
    import_problem,
)
from lawder_edge.doctor.probe import Probe, WeightsState
from lawder_edge.targets.registry import Target

TARGET = Target(
    name="fake",
    suffix=".fake",
    precisions=("fp32",),
    layout="NCHW",
    extra="fake",
    description="",
    module="nowhere",
    to_export=("torch", "fakewriter"),
    to_run=("fakert",),
    gates=(),
)
FINE = tuple(PackageState(name, "") for name in ("numpy", "torch", "fakewriter", "fakert"))


def lacking(*names: str, problem: str = NOT_INSTALLED) -> tuple[PackageState, ...]:
    return tuple(dataclasses.replace(p, problem=problem) if p.name in names else p for p in FINE)


def test_a_whole_installation_runs_its_targets_and_needs_nothing(machine: Machine) -> None:
    probe = Probe(("cuda:0 Example",), (WeightsState("order", "ab" * 32, ""),))
    health = diagnose(dataclasses.replace(machine, features=("avx2", "vnni")), [TARGET], FINE, probe)
    assert health.can_run
    assert health.targets[0].can_export
    assert health.targets[0].can_run
    assert health.hints == ()
    assert health.accelerators == ("cuda:0 Example",)


def test_a_device_without_torch_runs_but_does_not_export(machine: Machine) -> None:
    health = diagnose(machine, [TARGET], lacking("torch", "fakewriter"), None)
    assert health.can_run
    (target,) = health.targets
    assert (target.can_export, target.can_run) == (False, True)
    assert target.missing == ("torch", "fakewriter")
    assert target.install == "pip install 'lawder-edge[fake]'"
    text = "\n".join(health.hints)
    assert "pip install 'lawder-edge[train]'" in text
    assert "fake cannot be exported here" in text


def test_a_target_that_needs_a_compiler_runs_where_one_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = dataclasses.replace(
        TARGET, to_run=(), programs=("cc", "gcc"), programs_install="apt-get install gcc libc6-dev"
    )
    (tmp_path / "gcc").touch(mode=0o755)
    for path, problem, install in ((str(tmp_path), "", ""), ("", NOT_INSTALLED, "apt-get install gcc libc6-dev")):
        monkeypatch.setenv("PATH", path)
        packages = check_packages([compiled], lambda name: "")
        assert packages[-1] == PackageState("cc or gcc", problem)
        (target,) = diagnose(machine, [compiled], packages, None).targets
        assert (target.can_export, target.can_run, target.install) == (True, not problem, install)


def test_nothing_that_can_run_a_model_is_told(machine: Machine) -> None:
    assert not diagnose(machine, [TARGET], lacking("torch", "fakert"), None).can_run


def test_a_package_that_is_there_but_broken_is_named_with_the_reason(machine: Machine) -> None:
    health = diagnose(machine, [TARGET], lacking("fakert", problem="libGL.so.1: not found"), None)
    assert not health.targets[0].can_run
    assert any("fakert" in hint and "libGL.so.1" in hint for hint in health.hints)


def test_damaged_weights_and_a_probe_that_failed_are_told(machine: Machine) -> None:
    damaged = Probe((), (WeightsState("order", "", "truncated"),))
    assert any("order" in h and "truncated" in h for h in diagnose(machine, [TARGET], FINE, damaged).hints)
    failed = diagnose(machine, [TARGET], FINE, Probe((), (), "no driver"))
    assert failed.accelerators is None
    assert failed.weights is None
    assert any("no driver" in hint for hint in failed.hints)


def test_a_slow_governor_and_a_cpu_without_integer_dot_products_are_told(machine: Machine) -> None:
    text = "\n".join(diagnose(dataclasses.replace(machine, governor="powersave"), [TARGET], FINE, None).hints)
    assert "powersave" in text
    assert "int8 is hardly faster" in text


def test_every_package_is_asked_for_once() -> None:
    asked: list[str] = []

    def problem(name: str) -> str:
        asked.append(name)
        return ""

    check_packages([TARGET, TARGET], problem)
    assert sorted(asked) == sorted({"numpy", "cv2", "torch", "fakewriter", "fakert"})


def test_an_import_is_tried_outside_this_process() -> None:
    assert import_problem("colorsys") == ""
    assert import_problem("no_such_package_here") == find_problem("no_such_package_here") == NOT_INSTALLED
