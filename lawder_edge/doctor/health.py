"""Whether this installation works: what can be imported, which targets can run, whether the weights are whole."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lawder_edge.bench.machine import Machine, describe_machine
from lawder_edge.codec import decode
from lawder_edge.doctor.probe import Probe, WeightsState
from lawder_edge.errors import BadBundle, last_line
from lawder_edge.targets.registry import Target, targets

NOT_INSTALLED = "not installed"
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class PackageState:
    """problem: "" if it can be imported, else why not."""

    name: str
    problem: str


@dataclass(frozen=True)
class TargetState:
    """A target here. install: the command that brings what is missing, "" where nothing is."""

    name: str
    can_export: bool
    can_run: bool
    missing: tuple[str, ...]
    install: str


@dataclass(frozen=True)
class Health:
    """What `lawder-edge doctor` tells.

    packages: what the package and its targets import. accelerators, weights: None where they were not looked for,
    because PyTorch is not here or a quick look was asked for. hints: what to do, a sentence each.
    """

    machine: Machine
    packages: tuple[PackageState, ...]
    targets: tuple[TargetState, ...]
    accelerators: tuple[str, ...] | None
    weights: tuple[WeightsState, ...] | None
    hints: tuple[str, ...]

    @property
    def can_run(self) -> bool:
        """Whether anything can run a model here: PyTorch or the runtime of a target."""
        torch = any(p.name == "torch" and not p.problem for p in self.packages)
        return torch or any(t.can_run for t in self.targets)


def examine(*, quick: bool = False) -> Health:
    """Look at this machine, each import in a process of its own; `quick` only looks whether packages are there."""
    records = tuple(targets().values())
    packages = check_packages(records, find_problem if quick else import_problem)
    usable = not any(p.problem for p in packages if p.name == "torch")
    return diagnose(describe_machine(), records, packages, run_probe() if usable and not quick else None)


def check_packages(records: Iterable[Target], problem: Callable[[str], str]) -> tuple[PackageState, ...]:
    """Ask `problem` about every package that the tool and the targets import, and look for the targets' programs."""
    records = tuple(records)
    names = ["numpy", "cv2", "torch", *(p for t in records for p in (*t.to_export, *t.to_run))]
    packages = [PackageState(name, problem(name)) for name in dict.fromkeys(names)]
    programs = {_program(t): NOT_INSTALLED if t.lacks_program() else "" for t in records if t.programs}
    return (*packages, *(PackageState(name, problem) for name, problem in programs.items()))


def diagnose(
    machine: Machine, records: Iterable[Target], packages: tuple[PackageState, ...], probe: Probe | None
) -> Health:
    """Put together what was found. Pure."""
    problems = {p.name: p.problem for p in packages if p.problem}
    states = []
    for t in records:
        to_run = (*t.to_run, *((_program(t),) if t.programs else ()))
        missing = tuple(dict.fromkeys(p for p in (*t.to_export, *to_run) if p in problems))
        command = t.programs_install if missing == (_program(t),) else f"pip install 'lawder-edge[{t.extra}]'"
        states.append(
            TargetState(
                name=t.name,
                can_export=not problems.keys() & set(t.to_export),
                can_run=not problems.keys() & set(to_run),
                missing=missing,
                install=command if missing else "",
            )
        )
    return Health(
        machine=machine,
        packages=packages,
        targets=tuple(states),
        accelerators=probe.accelerators if probe and not probe.problem else None,
        weights=probe.weights if probe and not probe.problem else None,
        hints=tuple(_hints(machine, packages, states, probe)),
    )


def _program(target: Target) -> str:
    """What is looked for of the programs one of which a target needs to run."""
    return " or ".join(target.programs)


def _hints(
    machine: Machine, packages: tuple[PackageState, ...], states: Iterable[TargetState], probe: Probe | None
) -> Iterable[str]:
    for package in packages:
        if package.problem and package.problem != NOT_INSTALLED:
            yield f"{package.name} is installed but cannot be imported ({package.problem}): reinstall it."
    for package in packages:
        if package.name == "torch" and package.problem == NOT_INSTALLED:
            yield "To train, evaluate and export: pip install 'lawder-edge[train]'"
    for state in states:
        if state.missing:
            what = " nor ".join(w for w, can in (("exported", state.can_export), ("run", state.can_run)) if not can)
            yield f"{state.name} cannot be {what} here, {', '.join(state.missing)} missing: {state.install}"
    if probe and probe.problem:
        yield f"PyTorch could not be asked for accelerators and weights ({probe.problem}): reinstall it."
    for weights in probe.weights if probe else ():
        if weights.problem:
            yield f"The bundled weights {weights.name} are damaged ({weights.problem}): install lawder-edge again."
    if machine.governor not in ("", "performance"):
        yield f"The CPU governor is {machine.governor}; for steady latencies: cpupower frequency-set -g performance"
    if machine.features and not {"vnni", "dotprod"} & set(machine.features):
        yield "This CPU has no integer dot product (vnni, dotprod): int8 is hardly faster than float on it."


def find_problem(package: str) -> str:
    """ "" if the package is installed. Imports nothing."""
    return "" if importlib.util.find_spec(package) else NOT_INSTALLED


def import_problem(package: str) -> str:
    """ "" if the package can be imported, tried in a new process; otherwise why not."""
    if find_problem(package):
        return NOT_INSTALLED
    return _run(["-c", f"import {package}"])[1]


def run_probe() -> Probe:
    """What PyTorch sees, from a new process."""
    answer, problem = _run(["-m", "lawder_edge.doctor.probe"])
    try:
        return decode(Probe, answer, source="probe")
    except BadBundle as error:
        return Probe((), (), problem or str(error))


def _run(arguments: list[str]) -> tuple[str, str]:
    """Run Python. Returns: stdout, and why it failed ("" if it did not)."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer after {_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return done.stdout, ""
    return done.stdout, last_line(done.stderr) or f"exit code {done.returncode}"
