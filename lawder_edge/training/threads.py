"""The thread count of this process."""

from __future__ import annotations


def limit_threads(threads: int) -> None:
    """Give PyTorch and OpenCV `threads` threads; 0 leaves both as they are."""
    if threads <= 0:
        return
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
