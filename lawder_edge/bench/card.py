"""A bundle's model card, from its manifest, its certificate and a benchmark. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lawder_edge.bundle.certificate import Certificate
from lawder_edge.bundle.manifest import Manifest

_PHASES = (("infer", "bare network"), ("pre", "resize, normalise"), ("post", "sigmoid, resize back"), ("frame", "sum"))


def model_card(
    manifest: Manifest,
    certificate: Certificate | None,
    *,
    benchmark: Mapping[str, Any] | None = None,
    about: str = "",
) -> str:
    """Markdown. benchmark: the JSON of `lawder-edge bench`, whose rows of this very file are told.

    about: the card of the weights, put below with its headings one level down. What was not measured is said to be so.
    """
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            "**Research only, not a medical device.** Written by `lawder-edge card` from the bundle's own records.",
            "",
            *_file(manifest),
            *_masks(certificate),
            *_cost(manifest, benchmark),
            *_weights(manifest),
            *_about(about),
        ]
    ).rstrip() + "\n"  # fmt: skip


def _file(m: Manifest) -> list[str]:
    size = "any multiples of " + str(m.input.multiple_of) if m.input.dynamic else f"{m.input.height}x{m.input.width}"
    lines = [
        "## File",
        "",
        f"- `{m.model_file}`, {m.model_entry.size_bytes:,} bytes, sha256 `{m.model_entry.sha256}`",
        f"- {m.model} for {m.target}, {m.precision}",
        f"- takes {m.input.channels} channels of {size}, {m.input.layout}, {m.input.dtype}, {m.input.range}; frames of "
        f"any size are brought to {m.input.height}x{m.input.width} by {m.input.resize_rule}",
        f"- gives {m.output.kind}, classes: {m.output.classes}, {m.output.dtype}; foreground from {m.threshold:g}",
    ]
    if m.quantization is not None:
        q = m.quantization
        lines.append(f"- weights: {q.weights}; activations: {q.activations}; rounding {q.rounding}")
    return [*lines, ""]


def _masks(c: Certificate | None) -> list[str]:
    if c is None:
        return ["## Masks", "", "Not verified: `lawder-edge verify` compares them with PyTorch's.", ""]
    lines = ["## Masks", "", f"**{c.status}** on {c.source}: {c.reason}.", ""]
    a = c.agreement
    if a is None:
        return lines
    rows = (
        ("Dice of this file", f"{a.dice_artifact.mean:.4f} [{a.dice_artifact.low:.4f}, {a.dice_artifact.high:.4f}]"),
        ("Dice of PyTorch", f"{a.dice_pytorch.mean:.4f} [{a.dice_pytorch.low:.4f}, {a.dice_pytorch.high:.4f}]"),
        ("drop", f"{a.dice_drop.mean:+.5f} [{a.dice_drop.low:+.5f}, {a.dice_drop.high:+.5f}]"),
        ("mask Dice, this file and PyTorch", f"{a.mask_dice.mean:.5f}, worst {a.mask_dice.worst:.5f}"),
        ("surface Dice at 2 px, the same", f"{a.surface_dice.mean:.5f}, worst {a.surface_dice.worst:.5f}"),
    )
    return [*lines, *_table(("per image, mean [95 %]", f"{len(c.images)} images"), rows), ""]


def _cost(m: Manifest, benchmark: Mapping[str, Any] | None) -> list[str]:
    rows = [] if benchmark is None else [r for r in benchmark["rows"] if r.get("sha256") == m.model_entry.sha256]
    if benchmark is None or not rows:
        return ["## Cost", "", "Not measured: `lawder-edge bench --format json --out bench.json`, then `--bench`.", ""]
    lines = ["## Cost", ""]
    machine, spec = benchmark["machine"], benchmark["spec"]
    for r in rows:
        lines += [
            f"On {machine['cpu']} ({machine['architecture']}), {r['runtime']}, {spec['threads'] or 'its own'} "
            f"thread{'' if spec['threads'] == 1 else 's'}, frame {spec['frame'][0]}x{spec['frame'][1]}; other work "
            f"{benchmark['noise']['busy_percent']:.0f} % of the CPU.",
            "",
            *_table(
                ("ms", "p50", "p95", "p99", "mean", "calls"),
                [
                    (f"{name}: {what}", *(f"{r[name][k]:.2f}" for k in ("p50", "p95", "p99", "mean")), r[name]["count"])
                    for name, what in _PHASES
                ],
            ),
            "",
            f"First inference {r['infer']['first']:.1f} ms after {r['load_ms']:.0f} ms of loading; at most "
            f"{r['memory']['added_bytes'] / 1e6:.1f} MB resident above what was before."
            + ("" if r["macs"] is None else f" {r['params']:,} parameters, {2 * r['macs'] / 1e9:.3f} GFLOPs an image."),
            "",
        ]
    return lines


def _weights(m: Manifest) -> list[str]:
    w = m.weights
    lists = ", ".join(w.splits) or "lists that are not recorded"
    return [
        "## Weights",
        "",
        f"- fingerprint `{w.sha256}`, trained on {lists}; threshold {w.threshold:g} chosen on validation",
        f"- configuration: `{json.dumps(json.loads(w.config_json), sort_keys=True)}`",
        f"- exported with {', '.join(f'{t.name} {t.version}' for t in m.tools)}",
        "",
    ]


def _about(text: str) -> list[str]:
    if not text.strip():
        return []
    lines = [f"#{line}" if line.startswith("#") else line for line in text.strip().splitlines()]
    return [*lines, ""]


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]
