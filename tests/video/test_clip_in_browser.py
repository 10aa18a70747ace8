from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, is_here
from video_parts import ListSource, segmenter, spotted

from lawder_edge.video.frames import Controls
from lawder_edge.video.pipeline import Pipeline
from lawder_edge.video.record import ClipWriter

pytestmark = pytest.mark.skipif(not is_here(), reason="no chromium and chromedriver; on Debian: apt-get install both")


@pytest.mark.parametrize("vp9", [False, True])
def test_a_written_clip_plays_to_its_end_in_a_browser(vp9: bool, tmp_path: Path) -> None:
    clip = ClipWriter(tmp_path / "clip.webm", fps=25, live=False, vp9=vp9)
    source = ListSource([spotted(i) for i in range(15)])
    Pipeline(source, [segmenter()], Controls(), recorders=[clip]).run()
    with Browser(tmp_path / "profile") as browser:
        browser.open(clip.path.as_uri())
        browser.until("return document.querySelector('video')?.readyState >= 2")
        browser.run("const v = document.querySelector('video'); v.muted = true; v.currentTime = 0; v.play();")
        browser.until("return document.querySelector('video').ended")
        seen = browser.run(
            "const v = document.querySelector('video');"
            "return [v.videoWidth, v.videoHeight, v.duration, v.error, v.getVideoPlaybackQuality().totalVideoFrames];"
        )
    assert seen[:2] == [128, 96]
    assert seen[2] == pytest.approx(15 / 25, abs=0.05)
    assert seen[3] is None
    assert seen[4] > 5
