"""A window on the display of this process, used as a person would; prints what was seen as JSON.

In a process of its own, since Xlib ends the process whose display goes away.
"""

from __future__ import annotations

import json

from video_parts import found, spotted

from lawder_edge.video.frames import Controls, Status
from lawder_edge.video.window import Window


def probe() -> dict[str, object]:
    controls = Controls(bundles=("a", "b"))
    window = Window(controls, thresholds=(0.5, 0.7))

    def show(number: int, size: tuple[int, int]) -> tuple[int, int]:
        image = spotted(number, size=size)
        window.show(image, found(image, number=number), Status())
        assert window._photo is not None
        return window._photo.height(), window._photo.width()

    seen: dict[str, object] = {"size": show(3, (96, 128))}
    assert window._photo is not None
    places = ((0, 0), (36, 30), (95, 127))
    seen["pixels"] = [[(row, column), window._photo.get(column, row)] for row, column in places]
    seen["large"] = show(3, (1080, 1920))
    for key in ("h", "b", "r", "minus"):
        # There is no window manager here that would give it the focus.
        window._root.focus_force()
        window._root.update()
        window._root.event_generate(f"<Key-{key}>")
        show(1, (96, 128))
    seen["keys"] = [controls.figures, controls.bundle, controls.recording, controls.threshold, controls.stopped]
    window._root.tk.call(window._root.protocol("WM_DELETE_WINDOW"))
    seen["closed"] = controls.stopped
    window.close()
    window.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(probe()))
