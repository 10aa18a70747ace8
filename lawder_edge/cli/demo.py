"""`lawder-edge demo`"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from lawder_edge.cli.progress import Report
    from lawder_edge.video.demo import DemoResult


def demo(
    source: Annotated[str | None, tyro.conf.arg(aliases=["-s"])] = None,
    model: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-m"])] = ("order",),
    runtime: str = "auto",
    compare: str | None = None,
    show: bool = False,
    serve: str = "",
    token: str = "",
    save: Path | None = None,
    record: Path | None = None,
    report: Path | None = None,
    vp9: bool = False,
    frames: int = 0,
    threshold: float | None = None,
    smooth: bool = True,
    smooth_ms: float | None = None,
    hysteresis: float | None = None,
    least_area: float | None = None,
    least_ms: float | None = None,
    confirm_frames: int | None = None,
    crop: bool = True,
    judge: bool = True,
    blur_text: bool = True,
    frame_skip: int | Literal["auto"] = "auto",
    max_fps: float = 0.0,
    fps: float | None = None,
    size: tuple[int, int] = (360, 480),
    seed: int = 0,
    cpu: int = 0,
    overwrite: bool = False,
) -> int:
    """Outline polyps in live video: a camera, a stream, a file, a folder of images, or a bundled procedural clip.

    Example: lawder-edge demo --save out.webm --frames 300

    Without --serve, --save and --record it is shown in a window. Keys: h figures, k keys, space pause, + and -
    threshold, b next model, r record, s screenshot, q quit. Ctrl-C and SIGTERM end it, with whole files.

    Research use only. Exit code 4 if there is no display or runtime, 1 if the network failed on every frame or --save
    could not be written.

    Args:
        source: camera number or device, video file, folder or pattern of images, address (rtsp://...), GStreamer
            pipeline; the procedural clip when left out.
        model: bundle folders, model names or checkpoints; the first is shown, key b changes to the next.
        runtime: what runs a model name or checkpoint: auto for the best one here, torch, or a target.
        compare: a second network beside the first one, with the difference of their masks.
        show: in a window.
        serve: host and port of a web page to watch and control it, such as 127.0.0.1:8080.
        token: what a browser must know; needed where other machines can reach the page.
        save: clip to write: .webm, .mp4 (H.264 where this OpenCV can), .mkv or .avi.
        record: folder for recordings, each with video, masks and a line a frame.
        vp9: encode .webm as VP9 rather than VP8: four times the work, about the same size.
        report: file for what was measured, .json or .md.
        frames: to capture; 0 for all.
        threshold: probability from which a pixel is polyp; the one stored with the weights when left out.
        smooth: steady the masks over time, by the next four; 0 turns one of them off.
        smooth_ms: time constant in which earlier frames fade; 120 when left out.
        hysteresis: how far below the threshold a pixel of the mask must fall to leave it; 0.1 when left out.
        least_area: smallest region shown, as a share of the picture; 0.002 when left out.
        least_ms: how long a region must have been found before it is shown; 0 when left out.
        confirm_frames: frames in a row that must show a region before an alarm; 3 when left out.
        crop: cut away the black border for the network.
        judge: tell pictures that are dark, blurred or outside the body, and draw no mask on them.
        blur_text: make burnt-in text unreadable in what is saved, recorded and taken as a screenshot.
        frame_skip: frames left out after each; auto for those that there is no time for, where it is live or shown.
        max_fps: most frames a second; 0 for no limit.
        fps: that a file or folder is played at; its own, or 25, when left out (the procedural clip: 30).
        size: height and width of the procedural clip.
        seed: of the procedural clip.
        cpu: cores that this process may use; 0 for all.
        overwrite: replace the --save and --report files.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.training.interrupt import Interrupt
    from lawder_edge.video.demo import DemoRequest, run_demo
    from lawder_edge.video.steadiness import steady_config

    request = DemoRequest(
        source=source, models=model, runtime=runtime, compare=compare, show=show, serve=serve, token=token, save=save,
        record=record, report=report, vp9=vp9, frames=frames, threshold=threshold, crop=crop, judge=judge,
        blur_text=blur_text,
        steady=steady_config(
            on=smooth, smooth_ms=smooth_ms, hysteresis=hysteresis, least_area=least_area, least_ms=least_ms,
            confirm_frames=confirm_frames,
        ),
        frame_skip=frame_skip, max_fps=max_fps, fps=fps, size=size, seed=seed, cpu=cpu,
        overwrite=overwrite,
    )  # fmt: skip
    with contextlib.ExitStack() as shown_as, Interrupt() as interrupt:
        tell: list[Report] = []

        def on_progress(shown: int) -> None:
            # Begun with the first frame: what was exported before it took no time of it.
            if not tell:
                tell.append(shown_as.enter_context(progress("showing", shown=frames > 0)))
            tell[0](shown, frames)

        result = run_demo(
            request,
            stop=lambda: interrupt.asked,
            on_note=lambda text: print(text, file=sys.stderr, flush=True),
            on_progress=on_progress,
        )
    _print(result)
    unsaved = save is not None and save not in result.written
    return 1 if unsaved or (result.outcome.failures and not result.outcome.segmented) else 0


def _print(result: DemoResult) -> None:
    found = result.report
    latency = found.capture_to_display
    print(
        f"{found.shown} of {found.captured} frames shown, {found.fps:.1f} a second; {found.dropped} left out, "
        f"{found.skipped} missing or unreadable; {found.alarms} alarms"
    )
    print(
        f"median ms: pre {found.pre.p50_ms:.1f}, network {found.infer.p50_ms:.1f}, post {found.post.p50_ms:.1f}, "
        f"draw {found.draw.p50_ms:.1f}; capture to display {latency.p50_ms:.0f}, 99 % {latency.p99_ms:.0f}"
    )
    print(f"CPU {found.cpu_percent:.0f} % (100 is one core), at most {found.peak_memory_mb:.0f} MB")
    for why, count in found.unusable:
        print(f"{count} frames: {why}")
    for path in result.written:
        print(f"{path}: written")
    for text in result.remarks:
        print(f"warning: {text}", file=sys.stderr)
