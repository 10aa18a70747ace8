from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from video_parts import spotted

from lawder_edge.errors import BadInput
from lawder_edge.video.live import LiveSource, open_stream


class FakeDevice:
    """Gives `pictures`, then nothing. None among them cannot be decoded."""

    def __init__(self, pictures: list[np.ndarray | None], *, opened: bool = True) -> None:
        self.pictures = pictures
        self.opened = opened
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def grab(self) -> bool:
        return bool(self.pictures)

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        image = self.pictures.pop(0)
        return image is not None, image

    def release(self) -> None:
        self.released = True


def camera(*devices: FakeDevice) -> LiveSource:
    left = list(devices)
    return LiveSource("camera", lambda: left.pop(0), fps=25, first_wait_s=0.001)


IMAGE = spotted(0)


def test_a_camera_that_is_unplugged_is_connected_again_and_the_sequence_starts_anew() -> None:
    first, dead, second = FakeDevice([IMAGE] * 2), FakeDevice([], opened=False), FakeDevice([IMAGE] * 2)
    source = camera(first, dead, second)
    frames = [source.read() for _ in range(4)]
    assert [f.number for f in frames if f] == [0, 1, 2, 3]
    assert [f.cut for f in frames if f] == [True, False, True, False]
    assert first.released
    assert dead.released
    assert source.reconnects == 1
    assert source.said() == ""


def test_it_says_that_it_is_lost_and_how_often_it_has_tried() -> None:
    never = threading.Event()
    tries: list[FakeDevice] = []

    def connect() -> FakeDevice:
        tries.append(FakeDevice([IMAGE] if not tries else [], opened=not tries))
        if len(tries) == 4:
            never.set()
        return tries[-1]

    source = LiveSource("camera", connect, fps=25, first_wait_s=0.001)
    source.read()
    reader = threading.Thread(target=source.read)
    reader.start()
    assert never.wait(30)
    assert source.said().startswith("camera lost, reconnecting (try ")
    source.close()
    reader.join(30)
    assert not reader.is_alive()


def test_closing_ends_a_long_wait_at_once() -> None:
    devices = [FakeDevice([]), FakeDevice([], opened=False)]
    source = LiveSource("camera", lambda: devices.pop(0), fps=25, first_wait_s=3600)
    reader = threading.Thread(target=source.read)
    reader.start()
    while not source.said():
        time.sleep(0.001)
    source.close()
    source.close()
    reader.join(30)
    assert not reader.is_alive()


def test_a_frame_that_cannot_be_decoded_is_counted_and_no_loss_of_the_connection() -> None:
    source = camera(FakeDevice([IMAGE, None, IMAGE]))
    assert [f.number for f in (source.read(), source.read()) if f] == [0, 1]
    assert source.skipped == 1
    assert source.reconnects == 0


def test_another_resolution_is_a_cut() -> None:
    source = camera(FakeDevice([IMAGE, IMAGE[:48], IMAGE[:48]]))
    assert [f.cut for f in (source.read(), source.read(), source.read()) if f] == [True, True, False]


def test_a_device_that_never_opens_is_refused() -> None:
    with pytest.raises(BadInput, match="camera cannot be opened"):
        camera(FakeDevice([], opened=False))


def test_what_has_an_end_is_read_to_it_like_a_file() -> None:
    source = LiveSource("clip", lambda: FakeDevice([IMAGE, None, IMAGE]), fps=25, ends=True)
    assert not source.live
    frames = [source.read() for _ in range(3)]
    assert [f.number if f else None for f in frames] == [0, 1, None]
    assert (source.skipped, source.reconnects) == (1, 0)


class CutStream(BaseHTTPRequestHandler):
    """Motion JPEG over HTTP that breaks off after 6 pictures, each time."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in range(6):
            data = cv2.imencode(".jpg", spotted(i)[..., ::-1])[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_network_stream_that_is_cut_is_connected_again() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), CutStream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    source = open_stream(f"http://127.0.0.1:{server.server_address[1]}/live.mjpeg")
    assert isinstance(source, LiveSource)
    numbers = []
    while source.reconnects < 1:
        frame = source.read()
        assert frame is not None
        numbers.append(frame.number)
    after = source.read()
    source.close()
    server.shutdown()
    server.server_close()
    assert numbers == list(range(len(numbers)))
    assert after is not None
