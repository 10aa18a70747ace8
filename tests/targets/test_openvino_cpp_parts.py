"""The headers of run.cpp of OpenVINO bundles, piece by piece: the resize, pictures, hashes and JSON."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openvino_cpp import SANITIZED, STRICT, compiler, phantom
from PIL import Image
from target_contract import WEIGHTS, Tiny, randomised

from lawder_edge.bundle import processing
from lawder_edge.data.images import read_image
from lawder_edge.exporting.export import export_bundle
from lawder_edge.targets.registry import ExportSpec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def probe(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    program = tmp_path_factory.mktemp("probe") / "probe"
    source = Path(__file__).with_name("openvino_probe.cpp")
    command = [compiler(), "-std=c++17", *SANITIZED, *STRICT, "-I", str(project_root / "export" / "openvino")]
    done = subprocess.run(
        [*command, str(source), "-o", str(program), "-lpng"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    def ask(*arguments: object, data: bytes = b"") -> bytes:
        answer = subprocess.run([str(program), *map(str, arguments)], input=data, capture_output=True, check=False)
        assert answer.returncode == 0, answer.stderr.decode()
        return answer.stdout

    return ask


def test_weights_of_a_resize_are_those_of_the_one_resize(probe: Callable[..., bytes]) -> None:
    rng = np.random.default_rng(0)
    pairs = [(1, 1), (1, 7), (7, 1), (2, 3), (255, 256), (1080, 256), (1920, 256), (300, 1), (1024, 1), (5000, 7)]
    pairs += [(int(a), int(b)) for a, b in rng.integers(1, 700, (60, 2))]
    lines = probe("taps", *(n for pair in pairs for n in pair)).decode().splitlines()
    for source, target in pairs:
        expected = np.zeros((target, source), np.int64)
        indices, weights = processing.taps(source, target)
        np.add.at(expected, (np.arange(target)[:, None], indices), weights)
        found = np.zeros_like(expected)
        for row in found:
            first, *values = map(int, lines.pop(0).split())
            row[first : first + len(values)] = values
        np.testing.assert_array_equal(found, expected, err_msg=f"{source} to {target}")
    assert lines == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((5, 7, 3), (5, 7)),
        ((37, 53, 3), (64, 20)),
        ((1, 1, 1), (9, 4)),
        ((300, 2, 1), (1, 2)),
        ((64, 96, 1), (123, 201)),
    ],
)
def test_the_resize_gives_the_integers_of_the_one_resize(
    dtype: type[np.uint8] | type[np.uint16],
    shape: tuple[int, int, int],
    size: tuple[int, int],
    probe: Callable[..., bytes],
) -> None:
    top = np.iinfo(dtype).max
    image = np.random.default_rng(1).choice(np.array([0, 1, top // 2, top - 1, top], dtype), shape)
    answer = probe("resize", *shape, *size, 8 * image.itemsize, data=image.tobytes())
    found = np.frombuffer(answer, dtype).reshape(*size, shape[2])
    np.testing.assert_array_equal(found, processing.resize(image, size))


def test_a_resize_that_shrinks_too_far_is_told_in_the_same_words(probe: Callable[..., bytes]) -> None:
    with pytest.raises(ValueError, match="shrinks") as caught:
        processing.taps(2049, 2)
    assert probe("taps", 2049, 2).decode() == f"error: {caught.value}\n"


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "I;16", "transparent P"])
def test_a_png_of_every_mode_is_read_as_the_package_reads_it(
    mode: str, probe: Callable[..., bytes], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (21, 30, 4), np.uint8), "RGBA")
    path = tmp_path / "a.png"
    options: dict[str, Any] = {}
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (21, 30), np.uint16))
    elif mode == "transparent P":
        picture, options = picture.quantize(16), {"transparency": 3}
    elif mode != "RGBA":
        picture = picture.convert("RGB" if mode == "P" else "RGBA").convert(mode)
    picture.save(path, **options)
    *shape, got = probe("frame", path).decode().split()
    height, width, channels = map(int, shape)
    expected = read_image(path)
    assert (height, width) == expected.shape[:2]
    assert got == hashlib.sha256(np.ascontiguousarray(expected[:, :, :channels]).tobytes()).hexdigest()
    assert channels == 3 or (expected == expected[:, :, :1]).all()


def test_a_png_that_may_be_stored_turned_is_refused(probe: Callable[..., bytes], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(phantom(20, 30)).save(tmp_path / "a.png", exif=exif)
    assert "a.png: holds EXIF data" in probe("frame", tmp_path / "a.png").decode()


def test_damaged_pictures_are_refused_or_read_within_their_memory(probe: Callable[..., bytes], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8))
    paths, refused = [], 0
    for suffix in ("ppm", "png"):
        picture.save(tmp_path / f"whole.{suffix}")
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        for n in range(200):
            data = bytearray(whole)
            data[int(rng.integers(0, 60 if n % 2 else len(data)))] = int(rng.integers(0, 256))
            if n % 3 == 0:
                del data[int(rng.integers(0, len(data))) :]
            paths.append(tmp_path / f"{n}.{suffix}")
            paths[-1].write_bytes(bytes(data))
    lines = probe("frame", *paths).decode().splitlines()
    assert len(lines) == len(paths)
    refused = sum(line.startswith("error: ") for line in lines)
    assert 100 < refused < len(paths)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 100_000])
def test_hashes_are_sha256(length: int, probe: Callable[..., bytes], tmp_path: Path) -> None:
    data = np.random.default_rng(length).bytes(length)
    (tmp_path / "a").write_bytes(data)
    assert probe("sha256", tmp_path / "a").decode().strip() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no value at byte 0"),
        ("{", "no '\"' at byte 1"),
        ("[]", "wants an object"),
        ("{}", "key 'schema_version' is missing"),
        ('{"a": 1,}', "no '\"' at byte 8"),
        ('{"a": 1 "b": 2}', "no ',' and no '}' at byte 8"),
        ('{"a": 1, "a": 2}', "'a' for the second time"),
        ('{"a": 01}', "no ',' and no '}'"),
        ('{"a": 1.}', "no value"),
        ('{"a": +1}', "no value"),
        ('{"a": NaN}', "no value"),
        ('{"a": "b}', "a string without end"),
        ('{"a": "\n"}', "a control character"),
        ('{"a": "\\x"}', "an unknown escape"),
        ('{"a": "\\u12g4"}', "no four hexadecimal digits"),
        ('{"a": "\\ud800"}', "half a surrogate pair"),
        ("{} {}", "something after the end"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_a_manifest_that_is_no_json_is_told_with_the_place(
    text: str, said: str, probe: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert said in probe("bundle", tmp_path).decode()


def test_escapes_of_json_are_read(probe: Callable[..., bytes], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    export_bundle(randomised(Tiny()), target="openvino", spec=ExportSpec(), weights_info=WEIGHTS, out=bundle)
    name = 'ü €𝄞 "b'
    (bundle / name).write_bytes(b"")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"].append({"name": name, "sha256": hashlib.sha256(b"").hexdigest(), "size_bytes": 0})
    for escaped in (True, False):
        text = json.dumps(manifest, ensure_ascii=escaped)
        assert ("\\ud834" in text) == escaped
        (bundle / "manifest.json").write_text(text, encoding="utf-8")
        assert probe("bundle", bundle).decode() == "whole\n"
