from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from video_parts import found, spotted

from lawder_edge.errors import Unavailable
from lawder_edge.video.frames import Controls, Status
from lawder_edge.video.window import Window, press

pytest.importorskip("tkinter", reason="this Python has no Tk; on Debian: apt-get install python3-tk")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An X server without a screen."""
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
    monkeypatch.setenv("DISPLAY", f":{number}")
    yield
    server.terminate()
    server.wait()


def show(window: Window, image: np.ndarray, number: int = 0) -> None:
    window.show(image, found(image, number=number), Status())


def test_the_window_shows_the_picture_pixel_by_pixel(display: None) -> None:
    window = Window(Controls(), threshold=0.5)
    image = spotted(3)
    show(window, image)
    photo = window._photo
    assert photo is not None
    assert (photo.height(), photo.width()) == image.shape[:2]
    for row, column in ((0, 0), (36, 30), (95, 127)):
        assert photo.get(column, row) == tuple(image[row, column])
    window.close()
    window.close()


def test_a_picture_larger_than_the_screen_is_made_smaller(display: None) -> None:
    window = Window(Controls(), threshold=0.5)
    show(window, spotted(3, size=(1080, 1920)))
    assert window._photo is not None
    assert (window._photo.width(), window._photo.height()) == (576, 324)
    window.close()


def test_keys_act_while_pictures_are_shown(display: None) -> None:
    controls = Controls(bundles=("a", "b"))
    window = Window(controls, threshold=0.5)
    show(window, spotted(0))
    window._root.focus_force()
    for key in ("h", "b", "r", "minus", "q"):
        window._root.event_generate(f"<Key-{key}>")
        show(window, spotted(1))
    assert controls.figures
    assert controls.bundle == 1
    assert controls.recording
    assert controls.threshold == pytest.approx(0.45)
    assert controls.stopped
    window.close()


def test_closing_the_window_ends_the_video(display: None) -> None:
    controls = Controls()
    window = Window(controls, threshold=0.5)
    show(window, spotted(0))
    window._root.tk.call(window._root.protocol("WM_DELETE_WINDOW"))
    assert controls.stopped
    window.close()


def test_without_a_display_it_says_so_and_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(Unavailable, match="no display") as refusal:
        Window(Controls(), threshold=0.5)
    assert "--serve" in str(refusal.value)
    assert "--save" in str(refusal.value)


def test_every_key_that_is_listed_does_something() -> None:
    from lawder_edge.video.draw import KEYS

    names = {"space": ("space",), "+ -": ("plus", "minus")}
    controls = Controls(bundles=("a", "b"))
    for key, _ in KEYS:
        for name in names.get(key, (key,)):
            assert press(controls, name, threshold=0.5)
    assert not press(controls, "x", threshold=0.5)


def test_the_threshold_stays_one_that_cuts() -> None:
    controls = Controls()
    for _ in range(40):
        press(controls, "plus", threshold=0.5)
    assert controls.threshold == 0.99
    for _ in range(40):
        press(controls, "minus", threshold=0.5)
    assert controls.threshold == 0.01
