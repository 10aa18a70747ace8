from __future__ import annotations

from pathlib import Path

import pytest

from lawder_edge.errors import BadInput
from lawder_edge.video.demo import DemoRequest


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e9, float("inf"), float("nan")])
def test_a_rate_that_no_clip_can_have_is_refused_before_anything_is_made(fps: float, tmp_path: Path) -> None:
    request = DemoRequest(fps=fps, save=tmp_path / "clips" / "out.webm")
    with pytest.raises(BadInput, match=f"--fps {fps}: wanted more than 0 frames a second, and 1000 at most"):
        request.check()
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize("most", [-1.0, float("inf"), float("nan")])
def test_a_limit_of_the_rate_that_limits_nothing_is_refused(most: float) -> None:
    with pytest.raises(BadInput, match=f"--max-fps {most}: wanted 0 or more, and finite"):
        DemoRequest(max_fps=most).check()


def test_a_seed_below_0_is_refused() -> None:
    with pytest.raises(BadInput, match="--seed -1: wanted 0 or more"):
        DemoRequest(seed=-1).check()


def test_the_usual_request_and_no_limit_of_the_rate_pass() -> None:
    DemoRequest().check()
    DemoRequest(fps=12.5, max_fps=0.0, seed=7).check()
