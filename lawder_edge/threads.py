"""The thread count of this process."""

from __future__ import annotations

from lawder_edge.errors import BadInput


def check_threads(threads: int) -> None:
    """Raises BadInput for a count below 0."""
    if threads < 0:
        raise BadInput(f"threads is {threads}; wanted how many to compute with, or 0 for the default.")


def limit_threads(threads: int) -> None:
    """Give PyTorch and OpenCV `threads` threads; 0 leaves both as they are. Raises BadInput below 0."""
    check_threads(threads)
    if not threads:
        return
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
