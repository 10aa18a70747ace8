"""`lawder-edge eval --corruptions`."""

from __future__ import annotations

import json
from pathlib import Path

from cli_calls import call_cli, done

from lawder_edge.evaluation.corruptions import CORRUPTIONS
from lawder_edge.models import create_model
from lawder_edge.training.checkpoint import WeightsRecord, write_weights


def blind(folder: Path) -> Path:
    """Weights that find polyp everywhere."""
    tensors = {name: value * 0 for name, value in create_model("mk_unet_t").state_dict().items()}
    write_weights(folder / "blind.safetensors", tensors, WeightsRecord("mk_unet_t", threshold=0.4, size=32))
    return folder / "blind.safetensors"


def test_every_corruption_stands_at_five_severities_in_table_and_json(pairs: Path, tmp_path: Path) -> None:
    split = tmp_path / "one.txt"
    split.write_text("polyps/p0\n")
    asked = ["eval", "--model", blind(tmp_path), "--data", pairs, "--split", split, "--corruptions", "--threads", 1]
    rows = [line.split("|") for line in done([*asked, "--format", "md"]).out.splitlines() if line.startswith("|")]
    said = {row[1].strip(): row[2:-1] for row in rows}
    assert said.keys() >= CORRUPTIONS.keys()
    assert all(len(said[kind]) == 5 for kind in CORRUPTIONS)
    found = json.loads(done([*asked, "--format", "json"]).out)
    # What finds polyp everywhere loses nothing.
    assert {cell["dice"][0] for cell in found["corruptions"]["cells"]} == {found["corruptions"]["cells"][0]["dice"][0]}
    assert len(found["corruptions"]["cells"]) == 1 + 5 * len(CORRUPTIONS)


def test_a_format_of_one_table_is_refused(pairs: Path, tmp_path: Path) -> None:
    said = call_cli(["eval", "--model", "order", "--data", pairs, "--corruptions", "--format", "csv"])
    assert said.code == 2
    assert "--corruptions: a csv holds one table" in said.err
