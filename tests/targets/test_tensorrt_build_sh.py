"""What build.sh of a kit calls, and which of the engines that it leaves is run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lawder_edge.bundle.store import BUILT_IN_PLACE
from lawder_edge.runners.tensorrt.network import BUILT, find_engine
from lawder_edge.targets import tensorrt
from lawder_edge.targets.engine import EngineOptions
from lawder_edge.targets.registry import ExportSpec

FIXED = ExportSpec(size=(64, 96))


def test_an_engine_that_build_sh_made_here_is_used_before_the_one_that_was_exported(tmp_path: Path) -> None:
    exported = tmp_path / "order-tensorrt-fp16.rtx.engine"
    exported.touch()
    assert find_engine(None, exported) == exported
    (tmp_path / "model.engine").touch()
    assert find_engine(None, exported) == tmp_path / "model.engine"
    assert BUILT == BUILT_IN_PLACE


class Device:
    """device.py as far as `find_engine` asks it."""

    class Failure(Exception):
        pass


@pytest.fixture
def built(tmp_path: Path) -> Callable[[str, str], Path]:
    """An engine of that name, as build.sh leaves it for a manifest of that text."""

    def leave(name: str, manifest: str) -> Path:
        (tmp_path / name).touch()
        (tmp_path / f"{name}.from").write_text(hashlib.sha256(manifest.encode()).hexdigest() + "\n")
        return tmp_path / name

    (tmp_path / "manifest.json").write_text("{}")
    return leave


def test_an_engine_of_another_export_is_not_run(built: Callable[[str, str], Path], tmp_path: Path) -> None:
    made = built("model.engine", "{}")
    assert find_engine(Device, tmp_path / "model.onnx") == made
    (tmp_path / "manifest.json").write_text('{"newer": 1}')
    with pytest.raises(Device.Failure, match=r"model\.engine: built from another export .* Run `sh build\.sh` again"):
        find_engine(Device, tmp_path / "model.onnx")


def test_an_engine_of_another_export_hides_none_that_fits(built: Callable[[str, str], Path], tmp_path: Path) -> None:
    built("model.engine", "older")
    exported = tmp_path / "order-tensorrt-fp16.rtx.engine"
    assert find_engine(Device, exported) == exported
    fresh = built("model.rtx.engine", "{}")
    assert find_engine(Device, tmp_path / "model.onnx") == fresh
    built("model.rtx.engine", "older")
    with pytest.raises(Device.Failure, match=r"model\.engine and model\.rtx\.engine: built from another export"):
        find_engine(Device, tmp_path / "model.onnx")


def test_an_engine_that_is_known_to_fit_comes_before_one_made_by_hand(
    built: Callable[[str, str], Path], tmp_path: Path
) -> None:
    by_hand = tmp_path / "model.engine"
    by_hand.touch()
    stale = built("model.rtx.engine", "older")
    assert find_engine(Device, tmp_path / "model.onnx") == by_hand
    assert built("model.rtx.engine", "{}") == stale
    assert find_engine(Device, tmp_path / "model.onnx") == stale


@pytest.fixture
def kit(tmp_path: Path, project_root: Path) -> Callable[..., list[str]]:
    """What build.sh calls trtexec with, for a kit of one precision and a trtexec that knows some options."""

    def build_with(
        precision: str, *, knows: str, name: str = "trtexec", dla: str = "", engine: EngineOptions | None = None
    ) -> list[str]:
        folder = tmp_path / f"{precision}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        shutil.copy(project_root / "export" / "tensorrt" / "build.sh", folder)
        spec = ExportSpec(precision=precision, engine=engine or EngineOptions())
        tensorrt._write_kit(folder, spec, b"plain", b"legal")
        (folder / "manifest.json").write_text("{}")
        program = folder / name
        program.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "{knows}" && exit\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            ["sh", str(folder / "build.sh"), "--skipInference"],
            env={"PATH": os.defpath, "TRTEXEC": str(program), "DLA_CORE": dla},
            capture_output=True,
            text=True,
            check=True,
        )
        [made_from] = folder.glob("*.engine.from")
        assert made_from.read_text().strip() == hashlib.sha256(b"{}").hexdigest()
        return done.stdout.splitlines()

    return build_with


SHAPES = ["--minShapes=image:1x3x32x32", "--optShapes=image:1x3x256x256", "--maxShapes=image:1x3x512x512"]


def test_build_sh_calls_trtexec_of_each_age_as_it_wants_it(kit: Callable[..., list[str]]) -> None:
    new, old = "--stronglyTyped --noTF32 --int8", "--int8 --fp16 --noTF32"
    assert kit("fp16", knows=new) == [
        *("--onnx=model.trt.onnx", "--saveEngine=model.engine", "--skipInference", "--stronglyTyped"),
        *SHAPES,
    ]
    assert kit("fp16", knows=old)[:3] == ["--onnx=model.onnx", "--fp16", "--saveEngine=model.engine"]
    assert "--int8" in kit("int8", knows=old)
    assert "--onnx=model.trt.onnx" in kit("int8", knows=old)
    assert "--noTF32" in kit("fp32", knows=new)
    assert "--saveEngine=model.rtx.engine" in kit("fp16", knows=new, name="tensorrt_rtx")
    on_dla = kit("fp16", knows=new, dla="1")
    assert {"--fp16", "--useDLACore=1", "--allowGPUFallback"} < set(on_dla)
    assert "--stronglyTyped" not in on_dla


def test_a_kit_builds_what_was_asked_for_and_the_environment_comes_first(kit: Callable[..., list[str]]) -> None:
    jetson = EngineOptions(flavor="classic", dla_core=1, workspace_mib=256, hardware_compatible=True)
    called = kit("fp16", knows="--memPoolSize", engine=jetson)
    wanted = {"--useDLACore=1", "--memPoolSize=workspace:256", "--hardwareCompatibilityLevel=ampere+"}
    assert wanted < set(called)
    assert "--workspace=256" in kit("fp16", knows="--int8", engine=jetson)
    assert "--useDLACore=0" in kit("fp16", knows="--int8", engine=jetson, dla="0")
    rtx = EngineOptions(compute=("8.6", "12.0"))
    assert "--computeCapabilities=8.6,12.0" in kit("fp16", knows="--computeCapabilities", engine=rtx)
    plain = kit("fp16", knows="--memPoolSize --computeCapabilities")
    assert not [word for word in plain if "workspace" in word or "Capabilities" in word or "Compatib" in word]


@pytest.fixture
def build_sh(tmp_path: Path, project_root: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """build.sh of a kit of one flavor, in `kit`, where the PATH holds such tools; each writes its own name as the
    engine.
    """
    folder, tools = tmp_path / "kit", tmp_path / "tools"
    folder.mkdir()
    shutil.copy(project_root / "export" / "tensorrt" / "build.sh", folder)

    def run(flavor: Any, *names: str) -> subprocess.CompletedProcess[str]:
        tensorrt._write_kit(folder, replace(FIXED, engine=EngineOptions(flavor=flavor)), b"plain", b"legal")
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir()
        for name in names:
            program = tools / name
            program.write_text(
                '#!/bin/sh\nfor word; do case $word in --saveEngine=*) echo "${0##*/}" >"${word#*=}" ;; esac; done\n'
            )
            program.chmod(0o755)
        return subprocess.run(
            ["sh", str(folder / "build.sh")],
            env={"PATH": f"{tools}:{os.defpath}"},
            capture_output=True,
            text=True,
            check=True,
        )

    return run


@pytest.mark.parametrize(
    ("flavor", "engine", "tool"),
    [("rtx", "model.rtx.engine", "tensorrt_rtx"), ("classic", "model.engine", "trtexec")],
)
def test_build_sh_takes_the_tool_of_the_kits_flavor_and_tells_where_only_the_other_is_here(
    flavor: str, engine: str, tool: str, build_sh: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "kit" / "manifest.json").write_text("{}")
    done = build_sh(flavor, "trtexec", "tensorrt_rtx")
    assert (tmp_path / "kit" / engine).read_text() == f"{tool}\n"
    assert [p.name for p in (tmp_path / "kit").glob("*.engine")] == [engine]
    assert "note:" not in done.stderr
    (other,) = {"trtexec", "tensorrt_rtx"} - {tool}
    done = build_sh(flavor, other)
    assert f"exported for flavor {flavor}; {other} makes" in done.stderr


def test_what_build_sh_made_last_is_run(
    build_sh: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    (kit / "manifest.json").write_text("older")
    build_sh("classic", "trtexec")
    (kit / "manifest.json").write_text("{}")
    for tool in ("tensorrt_rtx", "trtexec", "tensorrt_rtx"):
        build_sh("rtx", tool)
        assert find_engine(Device, kit / "model.onnx").read_text() == f"{tool}\n"
        assert len(list(kit.glob("*.engine*"))) == 2


def test_build_sh_without_trtexec_tells_where_to_get_it(tmp_path: Path, project_root: Path) -> None:
    shutil.copy(project_root / "export" / "tensorrt" / "build.sh", tmp_path)
    tensorrt._write_kit(tmp_path, FIXED, b"plain", b"plain")
    done = subprocess.run(
        ["sh", str(tmp_path / "build.sh")],
        env={"PATH": os.defpath, "TRTEXEC": "no_such_trtexec"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "JetPack" in done.stderr
