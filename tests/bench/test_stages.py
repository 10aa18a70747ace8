from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lawder_edge.bench import stages
from lawder_edge.bench.stages import OtherExperiment, Stage, StageFailed, run_stages, split_file


def test_a_call_goes_on_after_the_stage_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    codes = [0, 3, 0, 0]

    def call(argv: tuple[str, ...], *, kept: bool) -> tuple[int, bytes]:
        calls.append(list(argv))
        return codes[len(calls) - 1], b"{}" if kept else b""

    monkeypatch.setattr(stages, "_call", call)
    out = tmp_path / "second"
    plan = [
        Stage("first", ("one",)),
        Stage("second", ("two", "--out", str(out))),
        Stage("third", ("three",), tmp_path / "third.json"),
    ]
    with pytest.raises(StageFailed, match="second: exit 3"):
        run_stages(plan, tmp_path / "done.txt")
    out.mkdir()
    (out / "last.safetensors").touch()
    run_stages(plan, tmp_path / "done.txt")
    assert calls == [["one"], ["two", "--out", str(out)], ["two", "--out", str(out), "--resume"], ["three"]]
    assert (tmp_path / "third.json").read_bytes() == b"{}"
    run_stages(plan, tmp_path / "done.txt")
    assert len(calls) == 4
    with pytest.raises(OtherExperiment, match="third was done by another command than lawder-edge three more"):
        run_stages([*plan[:2], Stage("third", ("three", "more"), tmp_path / "third.json")], tmp_path / "done.txt")
    assert len(calls) == 4


def test_a_list_of_the_repository_stands_before_one_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "ours.txt").touch()
    assert split_file("ours.txt", home=tmp_path, data=Path("data")) == tmp_path / "splits" / "ours.txt"
    assert split_file("theirs.txt", home=tmp_path, data=Path("data")) == Path("data/splits/theirs.txt")


def test_the_output_of_a_command_is_kept_where_it_is_a_result(tmp_path: Path) -> None:
    kept = tmp_path / "help.txt"
    run_stages([Stage("help", ("--help",), kept)], tmp_path / "done.txt")
    assert b"usage: lawder-edge" in kept.read_bytes()


def test_ctrl_c_waits_for_the_command_to_save(tmp_path: Path) -> None:
    # Stands for a command: says that it is there, and on Ctrl-C takes longer to end than subprocess.run would wait.
    (tmp_path / "lawder_edge.py").write_text(
        "import pathlib, time\n"
        "try:\n"
        "    pathlib.Path('there').touch()\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    time.sleep(1)\n"
        "    pathlib.Path('saved').touch()\n"
    )
    # As in a terminal, though the tests may run in the background, where Ctrl-C is ignored.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from pathlib import Path; from lawder_edge.bench.stages import Stage, run_stages\n"
    code += f"import os; os.chdir({str(tmp_path)!r}); os.environ['PYTHONPATH'] = '.'\n"
    code += "run_stages([Stage('long', ('train',))], Path('done.txt'))\n"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if (tmp_path / "there").exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    try:
        assert process.wait(30) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "done.txt").exists()
