from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edge_contract import EdgeContract
from numpy.typing import NDArray
from target_contract import WEIGHTS, BatchContract, Tiny, images_in_memory, largest_difference, randomised
from torch import Tensor, nn
from torch.nn import functional as F

import lawder_edge
from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.errors import BadInput
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import measure
from lawder_edge.models import create_model
from lawder_edge.targets.onnx import DEFAULT_OPSET, OPSETS, export
from lawder_edge.targets.registry import ExportSpec

FIXED = ExportSpec(size=(64, 96))


def messages(message: object) -> list[object]:
    """A protobuf message and all below it."""
    found = [message]
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                found += messages(inner)
    return found


class TestOnnx(EdgeContract, BatchContract):
    target = "onnx"

    def proto(self, exported: Path) -> onnx.ModelProto:
        return onnx.load(str(open_bundle(exported).model_path))

    def stored_type(self, bundle: Bundle) -> str:
        kind = onnx.load(str(bundle.model_path)).graph.input[0].type.tensor_type.elem_type
        return str(onnx.helper.tensor_dtype_to_np_dtype(kind))

    def test_the_file_is_whole_and_passes_the_checker(self, exported: Path) -> None:
        proto = self.proto(exported)
        onnx.checker.check_model(proto, full_check=True)
        assert not any(i.data_location == onnx.TensorProto.EXTERNAL for i in proto.graph.initializer)

    def test_inputs_and_outputs_have_plain_names_and_axes(self, exported: Path) -> None:
        graph = self.proto(exported).graph
        described = [
            (v.name, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
            for v in (*graph.input, *graph.output)
        ]
        assert described == [("image", ["batch", 3, "height", "width"]), ("logits", ["batch", 1, "height", "width"])]

    def test_the_exporters_notes_are_gone_and_ours_are_there(self, exported: Path) -> None:
        proto = self.proto(exported)
        for message in messages(proto.graph):
            for name in ("metadata_props", "doc_string", "value_info"):
                assert not getattr(message, name, None)
        assert proto.producer_name == "lawder-edge"
        assert {p.key: p.value for p in proto.metadata_props} == {
            "input_range": "(rgb-128)/128",
            "name": "tests_Tiny-onnx-fp32",
            "threshold": "0.4",
        }

    def test_batchnorm_is_folded_and_an_unused_head_dropped(self, exported: Path) -> None:
        graph = self.proto(exported).graph
        assert "BatchNormalization" not in {n.op_type for n in graph.node}
        assert not [i.name for i in graph.initializer if "unused" in i.name]

    @pytest.mark.parametrize(("opset", "ir"), [(OPSETS[0], 8), (DEFAULT_OPSET, 9), (OPSETS[-1], 11)])
    def test_the_opset_is_the_one_asked_for_in_the_oldest_file_that_holds_it(
        self, opset: int, ir: int, tmp_path: Path
    ) -> None:
        artifact = export(randomised(Tiny()), ExportSpec(size=(64, 96), opset=opset), tmp_path / "a.onnx")
        proto = onnx.load(str(artifact.path))
        assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]
        assert proto.ir_version == ir

    @pytest.mark.parametrize("opset", [11, OPSETS[0] - 1, OPSETS[-1] + 1])
    def test_an_opset_that_cannot_be_written_is_refused(self, opset: int, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=f"opset {opset} .* wanted 18 to 23"):
            export(Tiny(), ExportSpec(opset=opset), tmp_path / "a.onnx")

    def test_an_exported_program_gives_the_file_that_its_module_gives(self, tmp_path: Path) -> None:
        model = randomised(Tiny())
        program = torch.export.export(model, (torch.zeros(1, 3, 64, 96),))
        from_program = export(program, FIXED, tmp_path / "program.onnx")
        assert from_program.sha256 == export(model, FIXED, tmp_path / "module.onnx").sha256


class FixedGrid(nn.Module):
    """Right at 64 x 96 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(F.max_pool2d(x, 2)), size=(64, 96), mode="bilinear")


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :1], x[:, 1:]


class Low(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x[:, :1], 4)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] if float(x.sum()) > 0 else -x[:, :1]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FixedGrid(), "tied to one height and width"),
        (TwoOutputs(), "gives a tuple"),
        (Low(), r"gives \(1, 1, 16, 24\)"),
        (Branching(), "Branching cannot be exported"),
    ],
)
def test_a_network_that_does_not_fit_is_told_why(model: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        export(model, ExportSpec(), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def real_frames(folder: Path, count: int) -> list[NDArray[np.uint8]]:
    from lawder_edge.data.images import read_image

    paths = sorted((folder / "kvasir-seg" / "images").iterdir())[:count]
    return [read_image(p) for p in paths]


@pytest.mark.slow
class TestOrderAsOnnx:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> nn.Module:
        return randomised(create_model("order"), gain=0.7)

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("order") / "order-onnx"
        export_bundle(model, target="onnx", spec=ExportSpec(), weights_info=WEIGHTS, out=out)
        return out

    def test_one_file_of_at_most_260_kb_is_exact_at_every_size(self, exported: Path, model: nn.Module) -> None:
        runner = lawder_edge.load(exported)
        differences = {
            size: largest_difference(runner, model, (1, 3, *size))
            for size in ((128, 128), (256, 256), (352, 352), (192, 320), (32, 32))
        }
        assert max(differences.values()) <= 1e-4, differences
        assert open_bundle(exported).manifest.model_entry.size_bytes <= 260_000

    @pytest.mark.realdata
    def test_real_frames_are_certified(self, exported: Path, model: nn.Module, real_data: Path) -> None:
        frames = real_frames(real_data, 3)
        pairs = [EvalPair(str(i), "kvasir", None, f, np.ones(f.shape[:2], np.uint8)) for i, f in enumerate(frames)]
        images = images_in_memory("3 Kvasir-SEG images", *pairs)
        certificate = measure(open_bundle(exported), model, images)
        assert certificate.status == "certified", certificate.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels", "classes"), [("mk_unet_t", 1, 3), ("order", 3, 1), ("mk_order_full", 3, 1), ("unet", 3, 2)]
)
def test_other_models_export_exactly_at_a_fixed_size(name: str, channels: int, classes: int, tmp_path: Path) -> None:
    model = randomised(create_model(name, in_channels=channels, num_classes=classes), gain=0.7)
    spec = ExportSpec(size=(64, 96), channels=channels, classes=classes)
    bundle = export_bundle(model, target="onnx", spec=spec, weights_info=WEIGHTS, out=tmp_path / name)
    assert largest_difference(lawder_edge.load(bundle.path), model, (1, channels, 64, 96)) <= 1e-4
