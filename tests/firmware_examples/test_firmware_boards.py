"""The firmware examples on emulated boards: masks are the integer reference's, and what must fail does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from frames import Bytes, golden_pictures, reference_masks, resized, write_frames
from int8_network import quantized_tiny
from kernel_library import KERNELS
from networks import Made, pictures, write_files
from PIL import Image
from table import row_of

from lawder_edge.bundle.store import open_bundle
from lawder_edge.data.phantom import make_frame
from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Add, Concat, Conv2D, DepthwiseConv2D, Graph, Logistic, Mean, Mul, Sub
from lawder_edge.targets.c import export
from lawder_edge.targets.c.probability import reference_mask
from lawder_edge.targets.nhwc import to_graph
from lawder_edge.targets.registry import ExportSpec

BOARDS = ("netduinoplus2", "mps2-an386", "mps2-an500", "mps3-an547")
RIGHT = "every mask is the integer reference's"
INSTALL = "sh firmware_examples/install.sh"


def needs(*programs: str) -> None:
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here; {INSTALL}")


@pytest.fixture
def arm() -> None:
    needs("make", "arm-none-eabi-gcc", "qemu-system-arm")


@pytest.fixture
def riscv() -> None:
    needs("make", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of the examples' makefiles with a small network as the bundle of size 64, and three frames."""
    out = tmp_path_factory.mktemp("firmware")
    spec = ExportSpec(name="tiny", size=(64, 96), precision="int8")
    graph = to_graph(quantized_tiny().program((64, 96)), spec)
    (out / "bundle-64").mkdir()
    export(quantized_tiny().program((64, 96)), spec, out / "bundle-64" / "tiny.c")
    shutil.copy(Path(__file__).parents[2] / "export" / "c" / "main.c", out / "bundle-64")
    pictures = [make_frame(np.random.default_rng(seed), size=(64, 96)).image for seed in range(3)]
    write_frames(pictures, [reference_mask(graph, p, 0.5) for p in pictures], out / "frames-64")
    (out / "bundle-64" / "manifest.json").write_text("{}")
    # make goes by times of files: frames are newer than what they were made of.
    os.utime(out / "frames-64" / "frames.h")
    return out


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small, tmp_path / "copied", copy_function=shutil.copy2)


def make(example: str, goal: str, out: Path, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(root / "firmware_examples" / example), goal, f"OUT={out}", f"PYTHON={sys.executable}"]
    return subprocess.run([*command, "SIZE=64", *words], capture_output=True, text=True, check=False)


def test_the_table_has_what_a_board_said_and_no_run_that_failed() -> None:
    said = (
        "frame 0\n  crc 1\n  reference 1\n  instructions 1500000\nframe 1\n  instructions 2510000\narena bytes 1000\n"
        "picture and mask bytes 4000\nother static bytes 8\nstack bytes 2048\nstack used bytes 700\nflash bytes 12345\n"
    )
    assert row_of("a", said + RIGHT) == ("a", "1,000", "4,000", "700", "5,708", "12,345", "2.5")
    assert row_of("a", said + "FAILED") is None
    assert row_of("a", RIGHT) is None


def failed_with(done: subprocess.CompletedProcess[str], code: int) -> bool:
    return done.returncode != 0 and f"Error {code}\n" in done.stderr


@pytest.mark.parametrize("board", BOARDS)
def test_masks_of_every_board_are_the_integer_references(
    board: str, small: Path, project_root: Path, arm: None
) -> None:
    done = make("cortex_m", "board", small, project_root, f"BOARD={board}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert RIGHT in done.stdout
    crcs = re.findall(r"crc (\w{8})\n  reference (\w{8})\n", done.stdout)
    assert len(crcs) == 3
    assert all(found == wanted for found, wanted in crcs)
    assert len(set(crcs)) > 1
    used, most = (int(re.search(rf"^stack {w} (\d+)$", done.stdout, re.M).group(1)) for w in ("used bytes", "bytes"))  # type: ignore[union-attr]
    assert 0 < used < most


def convolutions(seed: int) -> Graph:
    """Every way through the convolutions: strides, dilations, channels of any count, windows wider than maps, and over
    two tensors."""
    m = Made(45, 40, 3, seed, weight_scale=0.008)
    x = m.add(Conv2D(), "image", shape=(8, 1, 1))
    for size, stride, dilation in ((3, 1, 1), (1, 1, 1), (5, 1, 1), (3, 1, 2), (7, 1, 1), (5, 2, 1), (3, 1, 1)):
        window = DepthwiseConv2D("same", (stride, stride), dilation=(dilation, dilation))
        x = m.add(Add(), *(m.add(window, x, shape=(8, size, size)),) * 2)
    for channels, size in ((6, 1), (5, 3), (7, 1), (4, 1), (12, 2), (9, 1)):
        x = m.add(Conv2D("same", activation="relu6"), x, shape=(channels, size, size))
    for channels, dilation in ((3, 1), (2, 2)):
        both = m.add(Concat(3), m.add(Conv2D("same"), x, shape=(channels, 1, 1)), x)
        x = m.add(Conv2D("same", dilation=(dilation, dilation), activation="relu6"), both, shape=(9, 3, 3))
    x = m.add(DepthwiseConv2D("same", (3, 3)), x, shape=(9, 3, 3))
    x = m.add(DepthwiseConv2D("same", (2, 2)), m.add(Conv2D(), x, shape=(16, 1, 1)), shape=(16, 5, 5))
    x = m.add(Sub(), m.add(Conv2D(), x, shape=(16, 1, 1)), x)
    scaled = m.add(Mul(), x, m.add(Logistic(), m.add(Mean((1, 2)), x)))
    return m.graph(m.add(Conv2D(), scaled, shape=(1, 1, 1)))


@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547"])
def test_instructions_for_signals_give_the_bits_of_portable_c(
    board: str, tmp_path: Path, project_root: Path, arm: None
) -> None:
    """With vectors, with pairs and with neither: the same masks, each in fewer instructions than the next."""
    graph = convolutions(0)
    made = pictures(graph, 8)
    (tmp_path / "bundle-64").mkdir()
    # Otherwise concatenations are operators where they cost no memory.
    written = write_files(graph, tmp_path / "bundle-64", row_by_row="always")
    assert sum(len(op.inputs) == 4 for op in written.graph.ops) == 2
    for source in KERNELS.iterdir():
        shutil.copy(source, tmp_path / "bundle-64")
    masks = [reference_mask(graph, p, 0.5) for p in made]
    assert len({m.tobytes() for m in masks}) == len(masks)
    assert len({int(v) for m in masks for v in m.reshape(-1)}) > 40
    write_frames(made, masks, tmp_path / "frames-64")
    (tmp_path / "bundle-64" / "manifest.json").write_text("{}")
    os.utime(tmp_path / "frames-64" / "frames.h")
    counts = []
    for defines in ("", "-DLW_NO_MVE", "-DLW_NO_MVE -DLW_NO_DSP")[0 if board == "mps3-an547" else 1 :]:
        done = make("cortex_m", "board", tmp_path, project_root, f"BOARD={board}", f"DEFINES={defines}")
        assert done.returncode == 0, done.stdout + done.stderr
        counts.append(sum(int(n) for n in re.findall(r"instructions (\d+)", done.stdout)))
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("board", ["netduinoplus2", "mps3-an547"])
def test_row_by_row_masks_are_the_same_and_no_frame_is_in_memory(
    board: str, small: Path, project_root: Path, arm: None
) -> None:
    done = make("cortex_m", "board", small, project_root, f"BOARD={board}", "DEFINES=-DROWS")
    assert done.returncode == 0, done.stdout + done.stderr
    assert RIGHT in done.stdout
    assert "picture and mask bytes 0\n" in done.stdout


def test_the_same_run_counts_the_same_instructions(small: Path, project_root: Path, arm: None) -> None:
    first, again = (make("cortex_m", "board", small, project_root).stdout for _ in range(2))
    counts = [int(n) for n in re.findall(r"instructions (\d+)", first)]
    assert len(counts) == 3
    # A multiplication is more than one instruction, and none takes a hundred.
    macs = 64 * 96 * 8 * 27
    assert all(macs < n < 100 * macs for n in counts)
    assert first == again


def test_masks_on_riscv_are_the_integer_references(small: Path, project_root: Path, riscv: None) -> None:
    done = make("riscv", "run", small, project_root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert RIGHT in done.stdout


def test_masks_on_linux_are_the_integer_references(small: Path, project_root: Path) -> None:
    needs("make", "cc", "aarch64-linux-gnu-gcc", "qemu-aarch64")
    done = make("linux", "run", small, project_root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 masks are the integer reference's, byte for byte") == 2


def spoil_crc(out: Path) -> None:
    """Another CRC for the second frame."""
    path = out / "frames-64" / "frames.c"
    text = path.read_text()
    last = re.findall(r"0x[0-9a-f]{8}u", text)[1]
    path.write_text(text.replace(last, f"0x{int(last[:-1], 16) ^ 1:08x}u"))


def test_a_wrong_crc_fails_on_arm(copied: Path, project_root: Path, arm: None) -> None:
    spoil_crc(copied)
    done = make("cortex_m", "board", copied, project_root)
    assert failed_with(done, 1)
    assert "FAILED" in done.stdout
    assert RIGHT not in done.stdout


def test_a_wrong_crc_fails_on_riscv(copied: Path, project_root: Path, riscv: None) -> None:
    spoil_crc(copied)
    assert failed_with(make("riscv", "run", copied, project_root), 1)


def test_a_wrong_mask_fails_on_linux(copied: Path, project_root: Path) -> None:
    needs("make", "cc", "aarch64-linux-gnu-gcc", "qemu-aarch64")
    mask = copied / "frames-64" / "01.mask.pgm"
    data = bytearray(mask.read_bytes())
    data[-1] ^= 1
    mask.write_bytes(bytes(data))
    done = make("linux", "run", copied, project_root)
    assert done.returncode != 0
    assert "differ" in done.stdout


def test_a_network_that_does_not_fit_a_boards_ram_does_not_link(small: Path, project_root: Path, arm: None) -> None:
    done = make("cortex_m", "board", small, project_root, "BOARD=netduinoplus2", "DEFINES=-DARENA_BYTES=130000")
    assert failed_with(done, 1)
    assert "region `RAM' overflowed" in done.stderr


def test_an_arena_that_is_too_small_is_told_by_the_status(small: Path, project_root: Path, arm: None) -> None:
    done = make("cortex_m", "board", small, project_root, "DEFINES=-DARENA_BYTES=1024")
    assert failed_with(done, 2)
    assert "the network returned status 3" in done.stdout


@pytest.mark.parametrize("example", ["cortex_m", "riscv"])
def test_a_stack_that_is_too_small_is_found(example: str, small: Path, project_root: Path) -> None:
    needs("make", *(("arm-none-eabi-gcc", "qemu-system-arm") if example == "cortex_m" else ()))
    needs(*(("riscv64-unknown-elf-gcc", "qemu-system-riscv32") if example == "riscv" else ()))
    done = make(example, "board" if example == "cortex_m" else "run", small, project_root, "STACK_BYTES=128")
    assert done.returncode != 0
    assert RIGHT not in done.stdout


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT with the bundle of ORDER at 64x64."""
    from lawder_edge.cli.export import export as export_verb

    out = tmp_path_factory.mktemp("order")
    assert export_verb(target="c", out=out / "bundle-64", size=(64, 64), limit=1) == 0
    return out


def run_on_m55(out: Path, pictures: Sequence[Bytes], root: Path) -> None:
    """Masks of the emulated M55 against those of the same C on this machine."""
    import lawder_edge
    from lawder_edge.targets.c.runner import CRunner

    host = lawder_edge.load(out / "bundle-64")
    assert isinstance(host, CRunner)
    masks = [host.network.mask(p) for p in pictures]
    assert len({m.tobytes() for m in masks}) == len(pictures)
    write_frames(pictures, masks, out / "frames-64")
    done = make("cortex_m", "board", out, root, "BOARD=mps3-an547")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  crc ") == len(pictures)


@pytest.mark.slow
def test_ten_phantom_frames_on_m55_give_the_hosts_masks(order: Path, project_root: Path, arm: None) -> None:
    bundle = open_bundle(order / "bundle-64")
    frames = [make_frame(np.random.default_rng([3, seed]), size=(240, 320)).image for seed in range(10)]
    run_on_m55(order, [resized(f, bundle) for f in frames], project_root)


@pytest.mark.slow
@pytest.mark.realdata
def test_ten_real_frames_on_m55_give_the_hosts_masks(
    order: Path, project_root: Path, real_data: Path, arm: None
) -> None:
    bundle = open_bundle(order / "bundle-64")
    paths = sorted((real_data / "kvasir-seg" / "images").iterdir())[::97][:10]
    assert len(paths) == 10
    frames = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    run_on_m55(order, [resized(f, bundle) for f in frames], project_root)


@pytest.mark.slow
def test_frames_come_from_the_bundle_and_masks_from_the_reference(order: Path) -> None:
    bundle = open_bundle(order / "bundle-64")
    pictures = golden_pictures(bundle)
    assert [p.shape for p in pictures] == [(64, 64, 3)] * 2
    masks = reference_masks(bundle, pictures[:1])
    assert masks[0].shape == (64, 64)
    with pytest.raises(BadInput, match="exported from weights"):
        reference_masks(bundle, pictures[:1], model="lawder_edge.models.unet:UNet")
