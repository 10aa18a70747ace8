from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import ExportSpec, Option, Target, get_target, targets


def test_every_record_is_complete_and_its_module_has_both_functions() -> None:
    assert "onnx" in targets()
    for name, record in targets().items():
        assert record.name == name
        assert record.suffix.startswith(".")
        assert record.precisions
        assert record.description
        for precision in record.precisions:
            assert 0.9 < record.limits(precision).mask_dice_mean <= 1
        assert json.dumps(dataclasses.asdict(record))


def test_activations_take_what_is_computed_in_and_not_what_weights_are_stored_in() -> None:
    bytes_of = {(name, p): record.scalar_bytes(p) for name, record in targets().items() for p in record.precisions}
    assert {size for (_, precision), size in bytes_of.items() if precision == "fp32"} == {4}
    assert {size for (_, precision), size in bytes_of.items() if precision == "int8"} == {1}
    assert (bytes_of["tensorrt", "fp16"], bytes_of["openvino", "fp16"]) == (2, 4)


def test_a_record_says_which_of_the_further_functions_its_module_has() -> None:
    for record in targets().values():
        module = importlib.import_module(record.module)
        assert record.watches == hasattr(module, "watch")
        assert (record.drawing is not None) == hasattr(module, "draw")


def test_a_target_that_hides_its_tensors_names_those_that_do_not(tmp_path: Path) -> None:
    bundle = SimpleNamespace(path=tmp_path)
    with pytest.raises(
        BadInput, match=r"tensorrt does not give its inner tensors\..* one of onnx, openvino, tflite, c,"
    ):
        get_target("tensorrt").watch(bundle, lambda: None, ())  # type: ignore[arg-type, return-value]


def test_an_unknown_target_gets_the_closest_name() -> None:
    with pytest.raises(BadInput, match=r"Did you mean 'onnx'\?"):
        get_target("onxx")
    with pytest.raises(BadInput, match=r"Known: .*onnx"):
        get_target("zzz")


def test_a_missing_package_is_named_with_what_to_install() -> None:
    record = dataclasses.replace(get_target("onnx"), to_run=("no_such_runtime",))
    assert record.missing(record.to_run) == ("no_such_runtime",)
    with pytest.raises(Unavailable, match=r"no_such_runtime.*pip install 'lawder-edge\[onnx\]'") as caught:
        record.load(None)  # type: ignore[arg-type]
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("target", "spec", "unread"),
    [
        ("tflite", ExportSpec(opset=18), "--opset"),
        ("tflite", ExportSpec(engine=EngineOptions("classic", dla_core=0)), "--flavor, --dla-core"),
        ("onnx", ExportSpec(engine=EngineOptions(compute=("8.9",))), "--compute"),
        ("openvino", ExportSpec(opset=18, engine=EngineOptions(profile=(32, 64, 96))), "--profile"),
        ("onnx", ExportSpec(ram_bytes=1 << 18), "--ram"),
    ],
)
def test_an_option_that_a_target_does_not_read_is_refused(target: str, spec: ExportSpec, unread: str) -> None:
    with pytest.raises(BadInput, match=f"target '{target}' does not read {unread}\\. Leave that out"):
        get_target(target).check(spec)


# Of every field of a spec a value that is not its default, and the option of `reads` that asks for it, if any.
ASKED: dict[str, tuple[object, Option | None]] = {
    "name": ("order", None), "size": ((64, 96), None), "dynamic_batch": (True, None), "precision": ("int8", None),
    "opset": (18, "opset"), "channels": (1, None), "classes": (3, None), "multiple_of": (16, None),
    "notes": ((("size", "64x96"),), None), "engine": (EngineOptions("classic", dla_core=0), "engine"),
    "output": ("mask", None), "input_type": ("uint8", None), "threshold": (0.3, None), "ram_bytes": (1 << 18, "ram"),
}  # fmt: skip


def takes(record: Target, asked: dict[str, object]) -> bool:
    spec = dataclasses.replace(ExportSpec(precision=record.usual_precision), **asked)  # type: ignore[arg-type]
    try:
        record.check(spec)
    except BadInput:
        return False
    return True


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ExportSpec)])
def test_every_field_of_a_spec_is_taken_by_some_target_and_refused_by_those_that_do_not_read_it(field: str) -> None:
    value, option = ASKED[field]
    assert value != getattr(ExportSpec(), field)
    takers = {name for name, record in targets().items() if takes(record, {field: value})}
    assert takers
    if option is not None:
        assert takers == {name for name, record in targets().items() if option in record.reads}


def test_every_option_belongs_to_a_field_of_a_spec() -> None:
    assert {option for _, option in ASKED.values() if option} == set(get_args(Option))


def test_the_runtime_of_an_engine_is_that_of_its_flavor() -> None:
    assert get_target("tensorrt").runtime_of("net.rtx.engine") == ("tensorrt_rtx",)
    assert get_target("tensorrt").runtime_of("net.engine") == ("tensorrt",)
    assert get_target("onnx").runtime_of("net.onnx") == ("onnxruntime",)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((250, 256), "224x256 or 256x256"),
        ((100, 200), "96x192 or 128x224"),
        ((10, 64), "32x64"),
        ((0, -5), "32x32"),
    ],
)
def test_a_size_off_the_grid_gets_the_nearest_ones(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(BadInput, match="cannot be exported") as caught:
        ExportSpec(size=size)
    assert f"Nearest: {nearest}." in str(caught.value)


def test_sizes_on_the_grid_and_no_size_at_all_are_taken() -> None:
    assert ExportSpec(size=(32, 352)).size == (32, 352)
    assert ExportSpec().size is None
    assert ExportSpec(size=(48, 80), multiple_of=16).multiple_of == 16
