"""The program: its verbs, their help, and what it imports."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import call_cli, call_process, process_environment, refused

from lawder_edge.cli import main

VERBS = (
    "data check", "data phantom", "train", "synth train", "synth sample", "synth score", "qat", "quantize", "eval",
    "export", "verify", "predict", "bench", "demo", "card", "targets", "doctor",
)  # fmt: skip
HEAVY = {
    "torch",
    "numpy",
    "onnx",
    "onnxruntime",
    "cv2",
    "scipy",
    "PIL",
    "matplotlib",
    "accelerate",
    "safetensors",
    "diffusers",
}


def test_the_help_of_the_program_lists_every_verb_with_an_example() -> None:
    said = call_cli(["--help"])
    assert said.code == 0
    for verb in VERBS:
        assert f"• {verb} " in said.out
        assert f"Example: lawder-edge {verb}" in said.out


def test_no_arguments_at_all_show_the_help() -> None:
    assert call_cli([]).out == call_cli(["--help"]).out


@pytest.mark.parametrize(("group", "verbs"), [("data", ("check", "phantom")), ("synth", ("train", "sample", "score"))])
def test_the_first_word_of_two_alone_shows_its_verbs(group: str, verbs: tuple[str, ...]) -> None:
    for arguments in ([group], [group, "--help"]):
        said = call_cli(arguments)
        assert said.code == 0
        for verb in verbs:
            assert f"• {verb} " in said.out
        assert "• export " not in said.out


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_and_describes_every_option(verb: str) -> None:
    said = call_cli([*verb.split(), "--help"])
    assert said.code == 0
    assert said.out.startswith(f"usage: lawder-edge {verb}")
    assert f"Example: lawder-edge {verb}" in said.out


@pytest.mark.parametrize(
    ("alias", "verb"), [("val", "eval"), ("evaluate", "eval"), ("benchmark", "bench"), ("infer", "predict")]
)
def test_a_verb_answers_to_the_names_that_other_tools_use(alias: str, verb: str) -> None:
    assert call_cli([alias, "--help"]).out == call_cli([verb, "--help"]).out


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["data", "frobnicate"],
        ["synth", "frobnicate"],
        ["eval", "--model"],
        ["export", "--size", "256"],
        ["--data"],
    ],
)
def test_what_cannot_be_parsed_is_usage(arguments: list[str]) -> None:
    said = call_cli(arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err


def test_an_alias_is_a_verb_only_where_a_verb_stands(tmp_path: Path) -> None:
    refused(call_cli(["predict", "val", "--out", tmp_path]), "val: no such file or folder")


@pytest.mark.parametrize(
    "code",
    [
        "import lawder_edge",
        "import sys; sys.argv = ['lawder-edge', '--help']; from lawder_edge.cli.main import main; main()",
        "import sys; sys.argv = ['lawder-edge', 'train', '--help']; from lawder_edge.cli.main import main; main()",
        "import sys; sys.argv = ['lawder-edge', 'synth', 'train', '-h']; from lawder_edge.cli.main import main; main()",
    ],
)
def test_neither_import_nor_help_loads_anything_heavy(code: str) -> None:
    told = "import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{told}\n{code}"], capture_output=True, text=True, env=process_environment(), check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(ended.stderr)}
    assert "lawder_edge" in loaded
    assert not loaded & HEAVY


def test_the_module_is_the_program() -> None:
    said = call_process(["targets", "--format", "json"])
    assert said.code == 0
    assert [row["target"] for row in json.loads(said.out)][:1] == ["onnx"]


def test_ctrl_c_is_130_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "verbs", interrupted)
    said = call_cli(["targets"])
    assert said.code == 130
    assert said.err == "interrupted\n"


def test_an_error_of_the_operating_system_that_a_path_explains_is_bad_input(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    refused(call_cli(["data", "phantom", "-n", 1, "--out", file / "below"]), f"{file}: File exists")
    assert file.read_text() == "precious"


def test_an_error_of_the_operating_system_that_is_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(argv: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(main, "verbs", failing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        call_cli(["targets"])


@pytest.mark.parametrize("arguments", [["targets", "--format", "json"], ["--help"]])
def test_a_reader_that_stops_listening_ends_the_program_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "lawder_edge", *arguments],
        stdout=writing, stderr=subprocess.PIPE, text=True, env=process_environment(), check=False,
    )  # fmt: skip
    os.close(writing)
    assert ended.returncode == 0
    assert ended.stderr == ""
