"""Experiments of many commands of lawder-edge, one after another, gone on with where they were stopped.

Runs processes, writes what they print and which of them are done.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.errors import BadInput, LawderError
from lawder_edge.files import write_file


class StageFailed(LawderError):
    """A command of an experiment failed."""


class OtherExperiment(BadInput):
    """A folder holds results of other commands than those that were asked for."""


@dataclass(frozen=True)
class Stage:
    """One command, without `lawder-edge`. name: unique in its experiment.

    file: where its standard output is kept, if that is a result.
    """

    name: str
    argv: tuple[str, ...]
    file: Path | None = None


def split_file(name: str, *, home: Path, data: Path) -> Path:
    """A list of pictures: that of `home`/splits where it has one of that name, else of `data`/splits."""
    ours = home / "splits" / name
    return ours if ours.is_file() else data / "splits" / name


def shown(argv: Sequence[str]) -> str:
    """As a person would type it."""
    return f"lawder-edge {shlex.join(argv)}"


def run_stages(plan: Sequence[Stage], done: Path) -> None:
    """Run every stage that `done` does not name yet, and name it there with a digest of its command.

    A command with --out whose folder holds the beginning of a run is told to --resume.

    Raises: OtherExperiment where a stage was done by another command; StageFailed naming the stage and its exit code.
    What is done stays done.
    """
    lines = done.read_text().splitlines() if done.is_file() else []
    finished = {name: digest for digest, _, name in (line.partition(" ") for line in lines)}
    for stage in plan:
        if stage.name in finished and finished[stage.name] != _digest(stage):
            raise OtherExperiment(
                f"{done}: {stage.name} was done by another command than {shown(stage.argv)}. Take another folder for "
                "these, or remove that stage's results and its line there, and those of all stages that read them."
            )
    for place, stage in enumerate(plan):
        if stage.name in finished:
            continue
        argv = _resumed(stage)
        print(f"[{place + 1}/{len(plan)}] {stage.name}: {shown(argv)}", flush=True)
        code, output = _call(argv, kept=stage.file is not None)
        if code:
            raise StageFailed(f"{stage.name}: exit {code}. Mend what it says and repeat this call.")
        if stage.file is not None:
            write_file(stage.file, output)
        with done.open("a") as file:
            file.write(f"{_digest(stage)} {stage.name}\n")


def _call(argv: Sequence[str], *, kept: bool) -> tuple[int, bytes]:
    """Exit code and standard output, which is empty where it is not kept."""
    process = subprocess.Popen([sys.executable, "-m", "lawder_edge", *argv], stdout=subprocess.PIPE if kept else None)
    try:
        output, _ = process.communicate()
    except KeyboardInterrupt:
        # Ctrl-C reaches the command too, which saves its run at the end of a step.
        process.wait()
        raise
    return process.returncode, output or b""


def _digest(stage: Stage) -> str:
    return hashlib.sha256("\0".join(stage.argv).encode()).hexdigest()[:12]


def _resumed(stage: Stage) -> tuple[str, ...]:
    if "--out" not in stage.argv:
        return stage.argv
    out = Path(stage.argv[stage.argv.index("--out") + 1])
    # A run of `train` and `synth train`; pictures of `synth sample`.
    begun = any((out / name).exists() for name in ("last.safetensors", "manifest.json", "images"))
    return (*stage.argv, "--resume") if begun else stage.argv
