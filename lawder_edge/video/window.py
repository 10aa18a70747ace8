"""A window on the desktop, and its keys.

By Tk, which comes with Python, rather than by OpenCV: the OpenCV wheel that has windows needs libGL.so.1 and libX11 to
be imported at all, also for training and export, and devices without a screen have neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from lawder_edge.errors import Unavailable
from lawder_edge.video.frames import Controls, Image, Segmented, Status

if TYPE_CHECKING:
    import tkinter

_STEP = 0.05
# Of the screen; the rest is left to the desktop's bars.
_SHARE = 0.9


def press(controls: Controls, key: str, *, thresholds: Sequence[float]) -> bool:
    """Do what a key asks for. key: as Tk names it. thresholds: of the bundles, in the order of `controls.bundles`; that
    of the shown one is in use where none was chosen yet.

    Returns: whether it is a key that does something.
    """
    chosen = controls.threshold or thresholds[controls.bundle]
    if key in ("q", "Escape"):
        controls.stop()
    elif key == "space":
        controls.paused = not controls.paused
    elif key == "h":
        controls.figures = not controls.figures
    elif key in ("k", "question"):
        controls.help = not controls.help
    elif key in ("plus", "equal", "KP_Add"):
        controls.threshold = round(chosen + _STEP, 4)
    elif key in ("minus", "KP_Subtract"):
        controls.threshold = round(chosen - _STEP, 4)
    elif key == "b":
        controls.bundle = (controls.bundle + 1) % len(controls.bundles)
    elif key == "r":
        controls.recording = not controls.recording
    elif key == "s":
        controls.ask_screenshot()
    else:
        return False
    return True


class Window:
    """A `Viewer`. To be made and used in one thread, the main one. thresholds: as of `press`.

    Raises Unavailable where there is no display, or no Tk.
    """

    def __init__(self, controls: Controls, *, thresholds: Sequence[float], title: str = "lawder-edge demo") -> None:
        try:
            import tkinter
        except ImportError as error:
            raise Unavailable(
                f"--show needs Tk, which this Python was built without ({error}). On Debian: apt-get install "
                "python3-tk; or watch with --serve 127.0.0.1:8080, or write a clip with --save out.webm."
            ) from error
        try:
            self._root = tkinter.Tk(className="lawder-edge")
        except tkinter.TclError as error:
            raise Unavailable(
                f"--show: there is no display here ({error}). Watch in a browser with --serve 127.0.0.1:8080, or write "
                "a clip with --save out.webm."
            ) from error
        self._controls, self._thresholds = controls, tuple(thresholds)
        self._root.title(title)
        self._root.configure(background="black")
        self._label = tkinter.Label(self._root, borderwidth=0, background="black")
        self._label.pack(expand=True)
        self._root.bind("<Key>", self._on_key)
        self._root.protocol("WM_DELETE_WINDOW", controls.stop)
        self._photo: tkinter.PhotoImage | None = None
        self._closed = False

    def show(self, picture: Image, segmented: Segmented, status: Status) -> None:
        if self._closed:
            return
        import tkinter

        room = self._root.winfo_screenheight() * _SHARE, self._root.winfo_screenwidth() * _SHARE
        shown = _within(picture, room)
        header = f"P6 {shown.shape[1]} {shown.shape[0]} 255 ".encode()
        try:
            photo = tkinter.PhotoImage(master=self._root, data=header + shown.tobytes(), format="PPM")
            self._label.configure(image=photo)
            # Tk shows a picture only as long as Python keeps it.
            self._photo = photo
            self._root.update()
        except tkinter.TclError:
            # The display went away under the window: the video ends as if it had been closed.
            self._closed = True
            self._controls.stop()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._photo = None
            self._root.destroy()

    def _on_key(self, event: tkinter.Event[Any]) -> None:
        press(self._controls, event.keysym, thresholds=self._thresholds)


def _within(picture: Image, room: tuple[float, float]) -> Image:
    """The picture, made smaller where it would not fit."""
    scale = min(room[0] / picture.shape[0], room[1] / picture.shape[1])
    if scale >= 1:
        return picture
    size = max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
