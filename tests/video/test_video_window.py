from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from video_parts import spotted

from lawder_edge.errors import Unavailable
from lawder_edge.video.draw import KEYS
from lawder_edge.video.frames import Controls
from lawder_edge.video.window import Window, press

pytest.importorskip("tkinter", reason="this Python has no Tk; on Debian: apt-get install python3-tk")


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What `window_probe` saw on an X server without a screen."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here; on Debian: apt-get install xvfb")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=(writing,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as told:
        number = told.readline().strip()
    assert number, "Xvfb did not start"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("window_probe.py"))],
        capture_output=True, text=True, check=False,
        env={**os.environ, "DISPLAY": f":{number}", "PYTHONPATH": paths},
    )  # fmt: skip
    server.terminate()
    server.wait()
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_window_shows_the_picture_pixel_by_pixel(seen: dict[str, Any]) -> None:
    image = spotted(3)
    assert seen["size"] == [96, 128]
    assert len(seen["pixels"]) == 3
    for (row, column), colour in seen["pixels"]:
        assert colour == image[row, column].tolist()


def test_a_picture_larger_than_the_screen_is_made_smaller(seen: dict[str, Any]) -> None:
    assert seen["large"] == [324, 576]


def test_keys_act_while_pictures_are_shown(seen: dict[str, Any]) -> None:
    assert seen["keys"] == [True, 1, True, 0.65, False]


def test_closing_the_window_ends_the_video(seen: dict[str, Any]) -> None:
    assert seen["closed"]


def test_without_a_display_it_says_so_and_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(Unavailable, match="no display") as refusal:
        Window(Controls(), thresholds=(0.5,))
    assert "--serve" in str(refusal.value)
    assert "--save" in str(refusal.value)


def test_every_key_that_is_listed_does_something() -> None:
    names = {"space": ("space",), "+ -": ("plus", "minus")}
    controls = Controls(bundles=("a", "b"))
    for key, _ in KEYS:
        for name in names.get(key, (key,)):
            assert press(controls, name, thresholds=(0.5, 0.5))
    assert not press(controls, "x", thresholds=(0.5, 0.5))


def test_the_threshold_stays_one_that_cuts() -> None:
    controls = Controls()
    for _ in range(40):
        press(controls, "plus", thresholds=(0.5,))
    assert controls.threshold == 0.99
    for _ in range(40):
        press(controls, "minus", thresholds=(0.5,))
    assert controls.threshold == 0.01


@pytest.mark.parametrize(("bundle", "key", "wanted"), [(0, "plus", 0.55), (1, "plus", 0.85), (1, "minus", 0.75)])
def test_the_threshold_is_moved_from_that_of_the_model_that_is_shown(bundle: int, key: str, wanted: float) -> None:
    controls = Controls(bundles=("a", "b"))
    controls.bundle = bundle
    press(controls, key, thresholds=(0.5, 0.8))
    assert controls.threshold == pytest.approx(wanted)
