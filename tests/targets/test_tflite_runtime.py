"""TFLite bundles on tflite-runtime 2.14, which boards still ship: it needs numpy 1 and at most Python 3.11.

`make test` builds the environment (.venv-device); LAWDER_DEVICE_PYTHON names another interpreter.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from int8_network import quantized_tiny
from PIL import Image
from target_contract import WEIGHTS, Tiny, randomised

from lawder_edge.bundle.processing import Frame, Mask, to_tensor
from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.exporting.export import export_bundle
from lawder_edge.exporting.verify import phantom_images
from lawder_edge.models import create_model
from lawder_edge.models.deploy import to_deploy
from lawder_edge.quantization.network import QuantizedNetwork
from lawder_edge.quantization.prepare import prepare
from lawder_edge.targets.registry import ExportSpec
from lawder_edge.targets.tflite import TfliteRunner, load

SIZE = (64, 96)
# Runs a .tflite by the reference kernels: model, stored inputs (N, 1, H, W, C) and outputs, both .npy.
BY_REFERENCE = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType
network = Interpreter(sys.argv[1], experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
network.allocate_tensors()
outputs = []
for x in np.load(sys.argv[2]):
    network.set_tensor(network.get_input_details()[0]["index"], x)
    network.invoke()
    outputs.append(network.get_tensor(network.get_output_details()[0]["index"]))
np.save(sys.argv[3], np.stack(outputs))
"""

Device = Callable[..., str]


@pytest.fixture(scope="module")
def device(project_root: Path) -> Device:
    """The board's Python: isolated, with a bare environment. Returns what it prints."""
    named = os.environ.get("LAWDER_DEVICE_PYTHON")
    python = Path(named or project_root / ".venv-device" / "bin" / "python")
    if not named and not python.is_file():
        pytest.skip("no .venv-device with tflite-runtime: `make test` builds it on Linux with Python 3.11 or older")

    def run(*arguments: object) -> str:
        command = [str(python), "-I", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def phantom() -> Frame:
    """A frame of odd size."""
    return next(phantom_images(1, seed=3).read()).frame[:123, :201]


def quantized_order() -> QuantizedNetwork:
    """ORDER at random weights, with ranges learnt from two phantom frames."""
    deployed = to_deploy(randomised(create_model("order"), gain=0.7))
    learning = prepare(deployed, size=SIZE).train()
    frames = [to_tensor(pair.frame, SIZE) for pair in phantom_images(2).read()]
    learning(torch.from_numpy(np.concatenate(frames)))
    return QuantizedNetwork(deployed, learning.scales(), channels=3)


INTEGERS = ["tiny-int8", pytest.param("order-int8", marks=pytest.mark.slow)]
FLOATS = ["tiny-fp32", pytest.param("order-fp32", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Bundles by network and precision, each exported once."""

    @lru_cache
    def make(key: str) -> Bundle:
        name, precision = key.split("-")
        if precision == "int8":
            model = quantized_tiny() if name == "tiny" else quantized_order()
        else:
            model = randomised(Tiny()) if name == "tiny" else randomised(create_model("order"), gain=0.7)
        spec = ExportSpec(size=SIZE, precision=precision)
        out = tmp_path_factory.mktemp("bundle") / key
        return export_bundle(model, target="tflite", spec=spec, weights_info=WEIGHTS, out=out)

    return make


def mask_on(device: Device, bundle: Bundle, frame: Frame, folder: Path) -> Mask:
    """What run.py draws there."""
    Image.fromarray(frame).save(folder / "a.png")
    device(bundle.path / "run.py", folder / "a.png", "--out", folder / "out")
    return np.asarray(Image.open(folder / "out" / "a_mask.png")) == 255


def test_the_environment_is_a_boards(device: Device) -> None:
    seen = device(
        "-c",
        "import numpy, tflite_runtime; from importlib.util import find_spec; print(tflite_runtime.__version__, "
        "numpy.__version__.split('.')[0], *filter(find_spec, ['torch', 'ai_edge_litert', 'lawder_edge', 'cv2']))",
    )
    assert seen.split() == ["2.14.0", "1"]


@pytest.mark.parametrize("key", [*FLOATS, *INTEGERS])
def test_the_check_passes(key: str, bundle_of: Callable[[str], Bundle], device: Device) -> None:
    bundle = bundle_of(key)
    rows = [line.split("\t") for line in device(bundle.path / "run.py", "--check").splitlines()]
    assert [row[0] for row in rows] == ["frame", "00", "01"]
    assert open_bundle(bundle.path).manifest == bundle.manifest


@pytest.mark.parametrize("key", [*FLOATS, "tiny-int8"])
def test_masks_are_those_of_litert(
    key: str, bundle_of: Callable[[str], Bundle], device: Device, tmp_path: Path
) -> None:
    bundle, frame = bundle_of(key), phantom()
    mask = mask_on(device, bundle, frame, tmp_path)
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(mask, load(bundle, threads=1).predict_mask(frame))


@pytest.mark.slow
def test_its_fast_kernels_are_as_near_to_the_reference_as_those_of_litert(
    bundle_of: Callable[[str], Bundle], device: Device, tmp_path: Path
) -> None:
    """XNNPACK rounds in its own way in each release; ORDER's steep random attention shows that."""
    bundle, frame = bundle_of("order-int8"), phantom()
    reference, fast = (load(bundle, threads=1, kernels=k).predict_mask(frame) for k in ("reference", "fast"))
    differing = np.count_nonzero(mask_on(device, bundle, frame, tmp_path) != reference)
    assert differing <= 2 * np.count_nonzero(fast != reference)


@pytest.mark.parametrize("key", INTEGERS)
def test_its_reference_kernels_give_the_bits_of_litert(
    key: str, bundle_of: Callable[[str], Bundle], device: Device, tmp_path: Path
) -> None:
    bundle = bundle_of(key)
    frames = np.random.default_rng(0).integers(-128, 128, (4, 1, *SIZE, 3)).astype(np.int8)
    np.save(tmp_path / "in.npy", frames)
    device("-c", BY_REFERENCE, bundle.model_path, tmp_path / "in.npy", tmp_path / "out.npy")
    runner = load(bundle, threads=1, kernels="reference")
    assert isinstance(runner, TfliteRunner)
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, np.stack([runner.infer_stored(x) for x in frames]))
