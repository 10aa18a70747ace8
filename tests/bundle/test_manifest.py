from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from bundle_samples import sample_manifest
from hypothesis import given
from hypothesis import strategies as st

from lawder_edge.bundle.manifest import Manifest, Quantization, portable_config
from lawder_edge.errors import BadBundle

Edit = Callable[[dict[str, Any]], object]


def edited(edit: Edit) -> str:
    document = json.loads(sample_manifest().to_json())
    edit(document)
    return json.dumps(document)


def test_a_manifest_comes_back_from_json_as_it_was() -> None:
    manifest = sample_manifest()
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text


def test_a_quantised_manifest_comes_back_too() -> None:
    document = json.loads(sample_manifest().to_json())
    document["quantization"] = {"weights": "int8", "activations": "int8", "rounding": "half up"}
    assert Manifest.from_json(json.dumps(document)).quantization == Quantization("int8", "int8", "half up")


def test_a_whole_number_is_taken_where_a_fraction_is_wanted_but_not_the_reverse() -> None:
    assert Manifest.from_json(edited(lambda d: d["weights"].update(threshold=1))).weights.threshold == 1.0
    with pytest.raises(BadBundle, match=r"input\.height"):
        Manifest.from_json(edited(lambda d: d["input"].update(height=256.0)))


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda d: d.pop("threshold"), "threshold"),
        (lambda d: d["input"].pop("width"), "input.width"),
        (lambda d: d["files"][1].pop("sha256"), "files[1].sha256"),
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d["weights"].update(note=""), "weights.note"),
        (lambda d: d.update(threshold="0.5"), "threshold"),
        (lambda d: d.update(threshold=1.5), "threshold"),
        (lambda d: d.update(threshold=float("nan")), "threshold"),
        (lambda d: d["input"].update(height=True), "input.height"),
        (lambda d: d["input"].update(height=100), "input.height"),
        (lambda d: d["input"].update(width=0), "input.width"),
        (lambda d: d["input"].update(channels=4), "input.channels"),
        (lambda d: d["input"].update(layout="CHWN"), "input.layout"),
        (lambda d: d["input"].update(range="rgb/255"), "input.range"),
        (lambda d: d["input"].update(resize_version=2), "input.resize_version"),
        (lambda d: d["input"].update(multiple_of=0), "input.multiple_of"),
        (lambda d: d["output"].update(kind="labels"), "output.kind"),
        (lambda d: d["output"].update(classes=0), "output.classes"),
        (lambda d: d["output"].update(dtype="float16"), "output.dtype"),
        (lambda d: d["output"].update(kind="mask"), "output.dtype"),
        (lambda d: d["output"].update(dtype="uint8"), "output.dtype"),
        (lambda d: d["input"].update(dtype="int32"), "input.dtype"),
        (lambda d: d["input"].pop("dtype"), "input.dtype"),
        (lambda d: d.update(model_file="other.onnx"), "model_file"),
        (lambda d: d.update(files={}), "files"),
        (lambda d: d["files"].append(d["files"][0]), "files"),
        (lambda d: d["files"][1].update(name="../secret"), "files[1].name"),
        (lambda d: d["files"][1].update(name="/etc/passwd"), "files[1].name"),
        (lambda d: d["files"][1].update(name="a\\b"), "files[1].name"),
        (lambda d: d["files"][1].update(sha256="xyz"), "files[1].sha256"),
        (lambda d: d["weights"].update(config_json="{"), "weights.config_json"),
        (lambda d: d["weights"].update(splits=[1]), "weights.splits[0]"),
        (lambda d: d.update(input=[]), "input"),
    ],
)
def test_a_value_that_cannot_stand_is_named_by_its_key(edit: Edit, key: str) -> None:
    with pytest.raises(BadBundle) as caught:
        Manifest.from_json(edited(edit))
    assert f"'{key}'" in str(caught.value)


def test_a_manifest_of_another_schema_says_which_version_reads_it() -> None:
    with pytest.raises(BadBundle, match=r"'schema_version' is 3, .* reads 2"):
        Manifest.from_json(edited(lambda d: d.update(schema_version=3, novelty=1)))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', b"\xff\xfe"])
def test_what_is_no_manifest_is_named_with_its_file(text: str | bytes) -> None:
    with pytest.raises(BadBundle, match=r"here\.json"):
        Manifest.from_json(text, source="here.json")


def test_a_configuration_loses_its_machine_paths_and_nothing_else() -> None:
    text = json.dumps({"lr": 0.1, "data": "/home/someone/kvasir", "more": ["C:\\data\\clinic", "a/b", "/"], "n": None})
    assert json.loads(portable_config(text)) == {"lr": 0.1, "data": "kvasir", "more": ["clinic", "a/b", ""], "n": None}


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))))
def test_a_configuration_without_paths_keeps_its_values(config: dict[str, Any]) -> None:
    assert json.loads(portable_config(json.dumps(config))) == config


def test_a_configuration_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadBundle, match="config_json"):
        portable_config("lr = 0.1")
