from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_watcher import PATIENCE_S, Watcher, wait_for

from lawder_edge.errors import BadInput
from lawder_edge.video.address import parse_address
from lawder_edge.video.frames import Controls, Frame, Segmented, Status
from lawder_edge.video.page import Page
from lawder_edge.video.showing import MOST_VIEWERS

TOKEN = "a-long-enough-secret"
SIZE = (48, 64)


def segmented(number: int) -> tuple[np.ndarray, Segmented]:
    picture = np.full((*SIZE, 3), 20 + number % 200, np.uint8)
    frame = Frame(number, time.monotonic(), picture)
    mask = np.zeros(SIZE, np.uint8)
    mask[:12] = 1
    return picture, Segmented(frame, mask.astype(np.float32), mask, 5.0, 1.0, 1.0, alarm=True)


class Camera:
    """Shows pictures until it is stopped, as the pipeline does; each is as bright as its number says."""

    def __init__(self, page: Page, picture: np.ndarray | None = None) -> None:
        self.shown = 0
        self._page, self._picture, self._stop = page, picture, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            picture, found = segmented(self.shown)
            status = Status(fps=30.0, latency_p50_ms=40.0, latency_p95_ms=60.0, latency_p99_ms=70.0)
            self._page.show(picture if self._picture is None else self._picture, found, status)
            self.shown += 1


@contextmanager
def served(**options: Any) -> Iterator[Page]:
    controls = Controls(bundles=("fp32", "int8"))
    page = Page(controls, **{"serve": "127.0.0.1:0", "thresholds": (0.5, 0.4), **options})
    try:
        yield page
    finally:
        page.close()


def ask(
    page: Page, path: str, *, method: str = "GET", body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*page.address, timeout=PATIENCE_S)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent = {"Content-Type": "application/json", **sent}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


def test_the_page_brings_all_it_needs_and_lets_nothing_else_in() -> None:
    with served() as page:
        code, headers, body = ask(page, "/")

    text = body.decode()
    assert code == 200
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "not a medical device" in text


def number_of(picture: np.ndarray) -> int:
    """Of the frame, modulo 200: pictures are as bright as their number."""
    return round(float(picture.mean())) - 20


def test_pictures_arrive_one_after_another() -> None:
    with served() as page, Camera(page):
        watcher = Watcher(page)
        seen = [watcher.picture() for _ in range(5)]
        watcher.close()

    numbers = [number_of(picture) for picture in seen]
    assert "multipart/x-mixed-replace" in watcher.head
    assert all(picture.shape == (*SIZE, 3) for picture in seen)
    assert numbers == sorted(set(numbers))


def test_eight_watch_at_once_and_one_who_takes_nothing_slows_nobody() -> None:
    # Noise does not compress: 60 kB a picture soon fill what the kernel holds for the one who reads nothing.
    noise = np.random.default_rng(0).integers(0, 256, (160, 240, 3), np.uint8)
    with served() as page, Camera(page, noise) as camera:
        slow = Watcher(page, receive_bytes=4096)
        others = [Watcher(page) for _ in range(7)]
        wait_for(lambda: page.viewers == 8)
        pictures = [[watcher.picture() for _ in range(10)] for watcher in others]
        before = camera.shown
        wait_for(lambda: camera.shown > before + 50)
        for watcher in (slow, *others):
            watcher.close()

    assert all(picture.shape == noise.shape for watched in pictures for picture in watched)


def test_one_who_falls_behind_misses_pictures_and_gets_the_newest() -> None:
    with served() as page, Camera(page) as camera:
        assert page.enter()
        first = page.next_shot(0, wait_s=PATIENCE_S)
        assert first is not None
        wait_for(lambda: camera.shown > first.number + 100)
        newest = page.next_shot(first.count, wait_s=PATIENCE_S)

    assert newest is not None
    assert newest.number > first.number + 50


def test_nothing_is_encoded_while_nobody_watches() -> None:
    with served() as page, Camera(page) as camera:
        wait_for(lambda: camera.shown > 50)
        shot = page.next_shot(0, wait_s=PATIENCE_S)

    assert shot is not None
    assert shot.count == 1


def test_viewers_who_leave_are_forgotten_and_too_many_are_refused() -> None:
    with served() as page, Camera(page):
        watcher = Watcher(page)
        watcher.picture()
        watcher.close()
        wait_for(lambda: page.viewers == 0)
        for _ in range(MOST_VIEWERS):
            assert page.enter()
        code, _, body = ask(page, "/live")

    assert code == 503
    assert b"too many" in body


def test_who_leaves_while_the_video_stands_is_forgotten_too() -> None:
    with served() as page:
        page.show(*segmented(0), Status())
        watcher = Watcher(page)
        watcher.picture()
        assert page.viewers == 1
        watcher.close()
        wait_for(lambda: page.viewers == 0)


def test_the_state_tells_the_figures_and_how_old_the_picture_is() -> None:
    with served() as page:
        assert json.loads(ask(page, "/state")[2])["shown"] == {}
        picture, found = segmented(7)
        page.show(picture, found, Status(fps=25.0, latency_p95_ms=61.0, dropped=3))
        state = json.loads(ask(page, "/state")[2])

    shown = state["shown"]
    assert (shown["frame"], shown["fps"], shown["latency_p95_ms"], shown["dropped"]) == (7, 25.0, 61.0, 3)
    assert shown["area"] == pytest.approx(0.25)
    assert shown["alarm"] is True
    assert shown["age_ms"] >= 0
    assert state["bundles"] == ["fp32", "int8"]
    assert state["own_threshold"] == 0.5


def test_controls_act() -> None:
    with served() as page:
        code, _, body = ask(page, "/control", method="POST", body={"threshold": 0.3, "bundle": 1, "recording": True})
        controls = page.controls
        assert code == 200
        assert json.loads(body)["threshold"] == 0.3
        assert (controls.threshold, controls.bundle, controls.recording) == (0.3, 1, True)
        assert json.loads(body)["own_threshold"] == 0.4

        ask(page, "/control", method="POST", body={"threshold": None, "paused": True, "screenshot": True})
        assert (controls.threshold, controls.paused, controls.screenshots) == (None, True, 1)

        assert not controls.stopped
        ask(page, "/control", method="POST", body={"stop": True})
        assert controls.stopped


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0}, {"threshold": 1}, {"threshold": "0.5"}, {"threshold": True}, {"bundle": 2}, {"bundle": -1},
        {"bundle": True}, {"bundle": 0.0}, {"paused": 1}, {"stop": False}, {"folder": "/"}, {"_lock": True}, {}, [], 3,
        {"paused": True, "bundle": 9},
    ],
)  # fmt: skip
def test_wishes_that_cannot_be_are_refused_whole(wrong: object) -> None:
    with served() as page:
        code, _, body = ask(page, "/control", method="POST", body=wrong)

        assert code == 400
        assert json.loads(body)["error"]
        assert (page.controls.threshold, page.controls.bundle, page.controls.paused) == (None, 0, False)


def test_bodies_that_are_no_json_or_too_long_are_refused_and_the_next_request_is_answered() -> None:
    with served() as page:
        connection = http.client.HTTPConnection(*page.address, timeout=PATIENCE_S)
        connection.request("POST", "/control", b"not json", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        connection.request("GET", "/state")
        again = connection.getresponse().status
        connection.close()
        form = ask(page, "/control", method="POST", body={"paused": True}, Content_Type="text/plain")[0]
        long = ask(page, "/control", method="POST", body={"paused": "x" * 5000})[0]

        assert (answer.status, again, form, long) == (400, 200, 415, 413)
        assert not page.controls.paused


def test_other_sites_can_neither_watch_nor_act() -> None:
    with served() as page:
        foreign = {"Origin": "http://elsewhere.example"}
        act = ask(page, "/control", method="POST", body={"stop": True}, **foreign)[0]
        watch = ask(page, "/live", Sec_Fetch_Site="cross-site")[0]
        rebound = ask(page, "/state", Host="elsewhere.example")[0]
        own = ask(page, "/state", Origin=f"http://127.0.0.1:{page.address[1]}", Host=f"127.0.0.1:{page.address[1]}")[0]

        assert (act, watch, rebound, own) == (403, 403, 403, 200)
        assert not page.controls.stopped


@pytest.mark.parametrize(
    "path",
    [
        "/../page.py", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/etc/passwd", "/recordings/..", "/recordings/-1",
        "/recordings/0/../../frames.jsonl", "/recordings/0", "/recordings/9999999", "/page.html", "/live/x",
    ],
)  # fmt: skip
def test_no_path_reaches_the_disk(path: str) -> None:
    with served() as page:
        assert ask(page, path)[0] == 404


def test_recordings_are_listed_and_given_out_by_their_number_once_they_are_whole(tmp_path: Path) -> None:
    folders = [tmp_path / "20260101-120000", tmp_path / "20260101-130000"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "video.webm").write_bytes(b"a clip")
    with served(recordings=lambda: folders) as page:
        listed = json.loads(ask(page, "/state")[2])["recordings"]
        whole, being_written, none = (ask(page, f"/recordings/{i}") for i in (0, 1, 2))

    assert listed == [{"name": "20260101-120000", "whole": True}, {"name": "20260101-130000", "whole": False}]
    assert whole[0] == 200
    assert whole[1]["Content-Type"] == "video/webm"
    assert whole[2] == b"a clip"
    assert (being_written[0], none[0]) == (404, 404)


def test_with_a_token_nothing_is_to_be_had_without_it() -> None:
    with served(token=TOKEN) as page:
        without = [ask(page, path)[0] for path in ("/", "/live", "/state", "/recordings/0", "/anything")]
        wrong = [ask(page, f"/state?token={t}")[0] for t in ("", "wrong", TOKEN[:-1], TOKEN + "x", "%ff")]
        act = ask(page, "/control", method="POST", body={"stop": True})[0]
        entered = ask(page, f"/?token={TOKEN}")
        cookie = entered[1]["Set-Cookie"].split(";")[0]
        inside = [ask(page, path, Cookie=cookie)[0] for path in ("/", "/state")]
        program = ask(page, "/state", Authorization=f"Bearer {TOKEN}")[0]

        assert set(without) | set(wrong) | {act} == {401}
        assert entered[0] == 303
        assert "HttpOnly" in entered[1]["Set-Cookie"]
        assert "SameSite=Strict" in entered[1]["Set-Cookie"]
        assert TOKEN not in entered[1]["Location"]
        assert inside == [200, 200]
        assert program == 200
        assert not page.controls.stopped


def test_an_address_that_others_reach_needs_a_token() -> None:
    with pytest.raises(BadInput, match="--token"):
        Page(Controls(), serve="0.0.0.0:0", thresholds=(0.5,))
    with pytest.raises(BadInput, match="characters or more"):
        Page(Controls(), serve="0.0.0.0:0", thresholds=(0.5,), token="short")
    with served(serve="0.0.0.0:0", token=TOKEN) as page:
        assert ask(page, "/state", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with served() as page, pytest.raises(BadInput, match=r"listens there already.*another port"):
        Page(Controls(), serve=f"127.0.0.1:{page.address[1]}", thresholds=(0.5,))


@pytest.mark.parametrize("text", ["", "host", "127.0.0.1:", "127.0.0.1:99999", ":80", "127.0.0.1:-1", "1.2.3.4:x"])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="wanted an address"):
        parse_address(text)


def test_addresses_are_read() -> None:
    assert parse_address("8080") == ("127.0.0.1", 8080)
    assert parse_address("localhost:80") == ("localhost", 80)
    assert parse_address("[::1]:8080") == ("::1", 8080)


def test_closing_lets_viewers_go_and_frees_the_port() -> None:
    with served() as page, Camera(page):
        watcher = Watcher(page)
        watcher.picture()
        kept = http.client.HTTPConnection(*page.address, timeout=PATIENCE_S)
        kept.request("GET", "/state")
        assert kept.getresponse().read()
        port = page.address[1]
        page.close()
        page.close()
        end = watcher.socket.recv(1 << 20)
        while end:
            end = watcher.socket.recv(1 << 20)
        watcher.close()
        kept.request("GET", "/state")
        ended = kept.getresponse().status
        kept.close()
    assert ended == 503
    with served(serve=f"127.0.0.1:{port}"):
        pass
