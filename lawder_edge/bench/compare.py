"""A benchmark against an earlier one's JSON: what changed, and what changed too much. Pure functions."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lawder_edge.bench.machine import Machine
from lawder_edge.bench.report import to_json
from lawder_edge.bench.rows import SCHEMA_VERSION, BenchReport, BenchSpec
from lawder_edge.errors import BadInput

PHASES = ("infer", "cpu", "pre", "post", "frame")
OF_PHASES = ("first", "mean", "stdev", "jitter", "p50", "p90", "p95", "p99")
OF_ROWS = {"load": ("load_ms",), "memory": ("memory", "added_bytes"), "file": ("size_bytes",)}
_RULE = re.compile(r"\s*(?:([a-z]+)\.)?([a-z0-9]+)\s*>\s*\+?(\d+(?:\.\d+)?)\s*%\s*")
# What has to be the same for two numbers to be comparable.
_MACHINE = ("cpu", "architecture", "cores", "usable_cores")
_SPEC = ("size", "frame", "include", "threads", "pin")


@dataclass(frozen=True)
class Limit:
    """The most that a number may grow. path: where it stands in a row of the JSON. text: as it was given."""

    text: str
    path: tuple[str, ...]
    percent: float


@dataclass(frozen=True)
class Change:
    """One number of one row. before, after: in its own unit. percent: how much it grew, infinite from 0."""

    source: str
    name: str
    before: float
    after: float
    percent: float


def parse_limit(text: str) -> Limit:
    """`p95>+10%`, of infer, or `frame.p99>5%`, `memory>10%`. Raises BadInput for what is no such rule."""
    found = _RULE.fullmatch(text)
    phase, name, percent = found.groups() if found else (None, "", "0")
    if name in OF_PHASES and (phase or "infer") in PHASES:
        return Limit(text, (phase or "infer", name), float(percent))
    if name in OF_ROWS and phase is None:
        return Limit(text, OF_ROWS[name], float(percent))
    raise BadInput(
        f"--fail-if {text!r} is no rule; wanted NUMBER>+PERCENT%, such as p95>+10%, with NUMBER one of "
        f"{', '.join(OF_PHASES)} (of infer, or cpu.p95, pre.p95, post.p95, frame.p95), {', '.join(OF_ROWS)}."
    )


# What is read, for people.
SAVED = "what `lawder-edge bench --format json` wrote"


def read_saved(text: str | bytes, *, source: str) -> dict[str, Any]:
    """The JSON of an earlier benchmark. Raises BadInput where it is none, or one of another schema."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{source} is no JSON ({error}); wanted {SAVED}.") from error
    kinds = {"rows": list, "machine": dict, "spec": dict}
    if not isinstance(document, dict) or not all(isinstance(document.get(k), kind) for k, kind in kinds.items()):
        raise BadInput(f"{source} holds no benchmark; wanted {SAVED}.")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise BadInput(
            f"{source} has schema version {document.get('schema_version')}, wanted {SCHEMA_VERSION}. Measure it again "
            "with this version."
        )
    return document


def check_comparable(old: Mapping[str, Any], machine: Machine, spec: BenchSpec, *, source: str) -> None:
    """Raises BadInput, with what differs, where `old` was measured on another machine or in another way."""
    # As JSON holds it: a tuple is a list there.
    now = json.loads(json.dumps({"machine": dataclasses.asdict(machine), "spec": dataclasses.asdict(spec)}))
    differs = [
        f"{name} was {then!r} and is {here!r}"
        for part, names in (("machine", _MACHINE), ("spec", _SPEC))
        for name in names
        if (then := old.get(part, {}).get(name)) != (here := now[part][name])
    ]
    if differs:
        raise BadInput(
            f"{source} cannot be compared with this: {'; '.join(differs)}. Measure it again here, or add --force to "
            "compare all the same."
        )


def changes(old: Mapping[str, Any], new: BenchReport, limits: Sequence[Limit]) -> tuple[Change, ...]:
    """The numbers of `limits`, and p50, p95 of infer, for each row that both have by its source."""
    before = {row["source"]: row for row in old["rows"] if row.get("status") == "ok"}
    after = {row["source"]: row for row in json.loads(to_json(new))["rows"] if row["status"] == "ok"}
    paths = dict.fromkeys([("infer", "p50"), ("infer", "p95"), *(limit.path for limit in limits)])
    found = []
    for source in after:
        for path in paths if source in before else ():
            a, b = _at(before[source], path), _at(after[source], path)
            if a is not None and b is not None:
                percent = 100 * (b / a - 1) if a else (0.0 if b == a else float("inf"))
                found.append(Change(source, ".".join(path), a, b, percent))
    return tuple(found)


def unmeasured(old: Mapping[str, Any], new: BenchReport, limits: Sequence[Limit]) -> tuple[str, ...]:
    """A sentence for each number of `limits` that a row had and has no more: what was not measured held no limit.

    Rows of `new` alone are asked: what was left out of this call was not meant.
    """
    before = {row["source"]: row for row in old["rows"] if row.get("status") == "ok"}
    found = []
    for row in json.loads(to_json(new))["rows"]:
        earlier = before.get(row["source"])
        if earlier is None or not limits:
            continue
        if row["status"] != "ok":
            found.append(f"{row['source']}: is {row['status']} and was measured before")
            continue
        found += [
            f"{row['source']}: {'.'.join(limit.path)} was not measured and was before"
            for limit in limits
            if _at(earlier, limit.path) is not None and _at(row, limit.path) is None
        ]
    return tuple(found)


def exceeded(found: Sequence[Change], limits: Sequence[Limit]) -> tuple[str, ...]:
    """A sentence for each change that a limit forbids."""
    return tuple(
        f"{c.source}: {c.name} grew by {c.percent:.1f} % ({c.before:.4g} to {c.after:.4g}), allowed {limit.text}"
        for limit in limits
        for c in found
        if c.name == ".".join(limit.path) and c.percent > limit.percent
    )


def _at(row: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None
