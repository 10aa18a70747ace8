"""Whether a training may write into a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.training.folder import CACHE_FOLDER, check_free, lock_folder

RESULTS = ("best.safetensors", "val.txt", "curves.csv")


def check(out: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    check_free(out, resume=resume, overwrite=overwrite, run_file="last.safetensors", results=RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_resume_without_a_run_replaces_no_file_of_a_runs_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists, match=f"{name} stands there without the last.safetensors"):
        check(tmp_path, resume=True)
    check(tmp_path, overwrite=True)
    (tmp_path / "last.safetensors").touch()
    check(tmp_path, resume=True)


def test_a_folder_with_other_files_is_not_begun_in_and_decoded_pictures_are_in_nobodys_way(tmp_path: Path) -> None:
    check(tmp_path / "new")
    (tmp_path / CACHE_FOLDER).mkdir()
    check(tmp_path)
    (tmp_path / "notes").touch()
    with pytest.raises(OutputExists, match="--resume"):
        check(tmp_path)
    check(tmp_path, resume=True)
    with pytest.raises(OutputExists, match="is a file"):
        check(tmp_path / "notes")
    with pytest.raises(BadInput, match="Give one of them"):
        check(tmp_path, resume=True, overwrite=True)


def test_one_process_at_a_time_trains_into_a_folder(tmp_path: Path) -> None:
    source = "import sys; from pathlib import Path; from lawder_edge.training.folder import lock_folder\n"
    hold = f"{source}lock = lock_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputExists, match="another training is writing there"):
            lock_folder(tmp_path)
        other.communicate("")
    lock = lock_folder(tmp_path)
    assert lock is not None
    assert lock_folder(tmp_path) is lock
    tried = [sys.executable, "-c", hold, str(tmp_path)]
    assert "another training" in subprocess.run(tried, input="", capture_output=True, text=True, check=False).stderr
    del lock
    assert subprocess.run(tried, input="", capture_output=True, text=True, check=False).stdout == "held\n"
    assert not list(tmp_path.iterdir())
