"""The finished runs of the LAW experiment, as law.py writes them and law_report.py reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Scale:
    """How large the runs are. size: side in pixels. base, few_base, full_fork, few_fork: steps of the optimiser.

    n: pictures that each generator draws, in sampler_steps. options: of every training.
    """

    size: int
    base: int
    few_base: int
    full_fork: int
    few_fork: int
    n: int
    sampler_steps: int
    options: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """What `synth score` said of a generator's pictures, means.

    features: of the distances. judge: of the masks, with the start of its weights' hash. kid_*: to held-out pictures;
    floor_*: of the real training pictures to those. frechet_*: beside it. fidelity: Dice of the mask asked for and the
    one found; fidelity_real: of the judge on held-out pictures. memorised: how many of `pictures` are near a training
    picture.
    """

    features: str
    judge: str
    kid_frame: float
    kid_crop: float
    floor_frame: float
    floor_crop: float
    frechet_frame: float
    frechet_crop: float
    fidelity: float
    fidelity_real: float
    memorised: int
    pictures: int

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Score:
        """From the JSON of `synth score`."""
        views = {d["view"]: d for d in report["distances"]}
        frame, crop = views["frame"], views["lesion crop"]
        return cls(
            features=report["features"],
            judge=report["fidelity"]["judge"],
            kid_frame=frame["to_held"]["mean"],
            kid_crop=crop["to_held"]["mean"],
            floor_frame=frame["floor"]["mean"],
            floor_crop=crop["floor"]["mean"],
            frechet_frame=frame["frechet_to_held"],
            frechet_crop=crop["frechet_to_held"],
            fidelity=report["fidelity"]["synthetic"]["mean"],
            fidelity_real=report["fidelity"]["held_out"]["mean"],
            memorised=len(report["memorised"]["flagged"]),
            pictures=report["synthetic"],
        )


@dataclass(frozen=True)
class Run:
    """part: that it is of. arm: of its generator, or `real` without one. dice: of ORDER on each list of the part, None
    where it is not there yet. score: None of `real`, and where it is not there yet.
    """

    part: str
    arm: str
    seed: int
    dice: tuple[float | None, ...]
    score: Score | None

    @property
    def begun(self) -> bool:
        """Whether anything of it is known."""
        return self.score is not None or any(d is not None for d in self.dice)

    @property
    def complete(self) -> bool:
        """Whether all is known that there is to know of its arm."""
        return None not in self.dice and (self.arm == "real") == (self.score is None)


@dataclass(frozen=True)
class PartRuns:
    """tests: names of the lists that Dice is on, the first of them the endpoint."""

    name: str
    scale: Scale
    tests: tuple[str, ...]
    runs: tuple[Run, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> PartRuns:
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> PartRuns:
        """From what `to_json` wrote, read."""
        runs = [
            Run(r["part"], r["arm"], r["seed"], tuple(r["dice"]), None if r["score"] is None else Score(**r["score"]))
            for r in fields["runs"]
        ]
        scale = Scale(**{**fields["scale"], "options": tuple(fields["scale"]["options"])})
        return cls(fields["name"], scale, tuple(fields["tests"]), tuple(runs))


def parts_to_json(parts: Sequence[PartRuns]) -> str:
    """Several parts in one file."""
    return json.dumps([asdict(part) for part in parts], indent=1)


def parts_from_json(text: str) -> tuple[PartRuns, ...]:
    return tuple(PartRuns.of(fields) for fields in json.loads(text))
