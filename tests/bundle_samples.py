"""Small bundles without a network, for tests of what surrounds one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lawder_edge.bundle.certificate import Certificate, unmeasured
from lawder_edge.bundle.manifest import FileEntry, InputSpec, Manifest, OutputSpec, WeightsInfo
from lawder_edge.bundle.store import Bundle, list_files
from lawder_edge.versions import Tool

MODEL_FILE = "net.onnx"


def sample_manifest() -> Manifest:
    return Manifest(
        schema_version=2,
        name="net-onnx-fp32",
        model="net",
        target="onnx",
        precision="fp32",
        model_file=MODEL_FILE,
        files=(FileEntry(MODEL_FILE, "0" * 64, 5), FileEntry("golden/00.frame.png", "1" * 64, 7)),
        input=InputSpec(
            height=256, width=352, dynamic=True, dynamic_batch=False, multiple_of=32, channels=3, layout="NCHW"
        ),
        output=OutputSpec(kind="logits", classes=1),
        threshold=0.42,
        quantization=None,
        weights=WeightsInfo("net", '{"lr": 0.001}', "a" * 64, ("kvasir:900",), "", 0.5),
        tools=(Tool("torch", "2.13.0"),),
    )


def fill(folder: Path, content: bytes = b"model") -> Manifest:
    """A `build` for `write_bundle`."""
    (folder / MODEL_FILE).write_bytes(content)
    (folder / "golden").mkdir()
    (folder / "golden" / "00.frame.png").write_bytes(b"picture")
    return replace(sample_manifest(), files=list_files(folder))


def verdict(bundle: Bundle, status: str = "rejected", reason: str = "mean mask Dice is 0.5") -> Certificate:
    sha256 = bundle.manifest.model_entry.sha256
    return unmeasured(status, reason, artifact_sha256=sha256, source="2 frames")  # type: ignore[arg-type]
