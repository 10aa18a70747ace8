from __future__ import annotations

import threading
from pathlib import Path

import pytest
from browser import Browser, is_here
from page_watcher import Watcher, wait_for

from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.frames import Controls, Segmented, Status
from lawder_edge.video.page import Page

pytestmark = pytest.mark.skipif(not is_here(), reason="no chromium and chromedriver; on Debian: apt-get install both")

TOKEN = "a-long-enough-secret"
# The picture's middle, small, as the browser shows it now.
LOOK = """
const canvas = document.createElement('canvas'); canvas.width = 16; canvas.height = 12;
const pen = canvas.getContext('2d'); pen.drawImage(document.getElementById('live'), 0, 0, 16, 12);
return Array.from(pen.getImageData(0, 0, 16, 12).data).join();
"""


def play(page: Page, stop: threading.Event) -> None:
    clip = ProceduralClip(seed=1, size=(240, 320))
    number = 60
    while not stop.wait(0.03):
        if page.controls.paused:
            continue
        image, mask = clip.picture_of(number), clip.mask_of(number)
        frame = clip.read()
        assert frame
        found = Segmented(frame, mask.astype("float32"), mask, 21.0, 1.0, 2.0, alarm=bool(mask.any()))
        latency = 40.0 + number % 30
        page.show(image, found, Status(27.5, latency, latency + 15, latency + 30, 4, 95.0, 410.0, ""))
        number += 1


def test_frames_arrive_in_a_browser_and_its_controls_act(tmp_path: Path) -> None:
    controls = Controls(bundles=("order-fp32", "order-int8"))
    recording = tmp_path / "20260101-120000"
    recording.mkdir()
    (recording / "video.webm").write_bytes(b"a clip")
    page = Page(controls, serve="127.0.0.1:0", thresholds=(0.54, 0.5), token=TOKEN, recordings=lambda: [recording])
    stop = threading.Event()
    camera = threading.Thread(target=play, args=(page, stop))
    camera.start()
    try:
        with Browser(tmp_path / "profile") as browser:
            browser.open(page.url)
            assert TOKEN not in browser.run("return location.href")
            browser.until("return document.getElementById('live').naturalWidth === 320")
            see_it_change(browser)
            # The first of seven more never takes a picture.
            watchers = [Watcher(page, receive_bytes=4096), *(Watcher(page) for _ in range(6))]
            wait_for(lambda: page.viewers == 8)
            see_it_change(browser)
            assert all(watcher.picture().any() for watcher in watchers[1:])
            for watcher in watchers:
                watcher.close()
            browser.until("return document.querySelectorAll('#figures dt').length > 5")
            assert browser.run("return document.querySelector('#recordings a').getAttribute('href')") == "/recordings/0"
            assert browser.run("return document.getElementById('threshold-value').textContent") == "0.54"

            browser.run(
                "const t = document.getElementById('threshold'); t.value = 0.31;"
                "t.dispatchEvent(new Event('input')); t.dispatchEvent(new Event('change'));"
            )
            browser.run(
                "const b = document.getElementById('bundle'); b.selectedIndex = 1;b.dispatchEvent(new Event('change'));"
            )
            browser.run("document.getElementById('recording').click()")
            wait_for(lambda: (controls.threshold, controls.bundle, controls.recording) == (0.31, 1, True))
            browser.until("return document.getElementById('recording').textContent === 'Stop recording'")
            browser.screenshot(tmp_path / "page.png")

            browser.run("document.getElementById('paused').click()")
            wait_for(lambda: controls.paused)
            browser.until("return document.getElementById('banner').textContent.startsWith('Stopped')")

            page.close()
            browser.until("return document.getElementById('banner').textContent.startsWith('No connection')")
    finally:
        stop.set()
        camera.join()
        page.close()
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_one_picture_is_seen_though_no_other_follows(tmp_path: Path) -> None:
    page = Page(Controls(), serve="127.0.0.1:0", thresholds=(0.5,))
    try:
        clip = ProceduralClip(seed=1, size=(240, 320))
        frame = clip.read()
        assert frame
        mask = clip.mask_of(0)
        page.show(frame.image, Segmented(frame, mask.astype("float32"), mask, 21.0, 1.0, 2.0, alarm=False), Status())
        with Browser(tmp_path / "profile") as browser:
            browser.open(page.url)
            browser.until("return document.getElementById('live').naturalWidth === 320")
            browser.until("return document.getElementById('banner').textContent.startsWith('No new picture')")
    finally:
        page.close()


def see_it_change(browser: Browser) -> None:
    first = browser.run(LOOK)
    browser.until(f"const now = (() => {{ {LOOK} }})(); return now !== {first!r}")
