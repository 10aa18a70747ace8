from __future__ import annotations

from video_parts import GreenRunner

from lawder_edge.bench.memory import resident
from lawder_edge.video.clip import ProceduralClip
from lawder_edge.video.frames import Controls, Segmented, Status
from lawder_edge.video.pipeline import Pipeline
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.steadiness import Steady

FRAMES, SETTLED = 900, 200
SIZE = (120, 160)


def test_memory_stays_constant_over_many_frames() -> None:
    seen_bytes: list[int] = []

    class Watching:
        def show(self, picture: object, segmented: Segmented, status: Status) -> None:
            if segmented.frame.number in (SETTLED, FRAMES - 1):
                seen_bytes.append(resident().now_bytes)

        def close(self) -> None:
            pass

    clip = ProceduralClip(seed=1, size=SIZE, frames=FRAMES)
    segmenter = Segmenter("green", GreenRunner(), threshold=0.5, steadier=Steady)
    outcome = Pipeline(clip, [segmenter], Controls(), viewers=[Watching()]).run()
    assert outcome.shown == FRAMES
    # Keeping one picture of each frame would add 40 MB.
    assert seen_bytes[1] - seen_bytes[0] < 20e6
