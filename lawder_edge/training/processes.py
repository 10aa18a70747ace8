"""Several processes of one run: the first writes and speaks, the others follow."""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState
    from torch import Tensor

T = TypeVar("T")

# How long the others wait while the first decodes pictures or validates; NCCL alone gives up after 10 minutes.
PATIENCE = timedelta(hours=2)
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def is_first() -> bool:
    """Whether this process is the one that writes and prints: always, where nobody launched several."""
    return int(next((os.environ[name] for name in _RANKS if name in os.environ), "0")) == 0


def launched_alone() -> bool:
    """Whether `accelerate launch` was asked for several processes and started only this one.

    It does so on a CPU without an MPI host file: it names a meeting point and no ranks.
    """
    return "MASTER_ADDR" in os.environ and not any(name in os.environ for name in _RANKS)


def join_processes(*, cpu: bool) -> PartialState:
    """Meet the other processes of this run. cpu: stay on the CPU although a GPU is there."""
    import torch
    from accelerate import PartialState

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    device = torch.accelerator.current_accelerator(check_available=True)
    # accelerate takes each of several processes that have no GPU for a run of its own unless told to use the CPU.
    cpu = cpu or (several and (device is None or device.type == "mps"))
    if several and not torch.distributed.is_initialized():
        # Of kernels with one input channel, whose strides are ambiguous; of no consequence.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        # gloo's threads abort a process that ends without this.
        atexit.register(_leave)
    return PartialState(cpu=cpu, timeout=PATIENCE)


def note_on_bf16(mixed_precision: str, *, device: str) -> str | None:
    """What to know before bf16 is computed on a processor that has none. device: "cpu" or another type of torch's."""
    if mixed_precision != "bf16" or device != "cpu" or computes_bf16():
        return None
    # Measured on a processor with AVX2 alone: a step of the small generator 24 s, in float32 1.2.
    return (
        "this processor has no bf16 arithmetic and imitates it: a step can take twenty times as long as in float32, "
        "which --mixed-precision no takes"
    )


def computes_bf16() -> bool:
    """Whether this processor has instructions for bf16 (on x86: AVX-512) that torch's convolutions use.

    Also where torch cannot tell, as in builds without oneDNN.
    """
    import torch

    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is None or bool(asked())


def _leave() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def first_alone(state: PartialState) -> Iterator[None]:
    """The first process runs the block to its end, then the others do.

    Raises: SystemExit in the others where the first failed, so that they neither wait for it nor repeat its error.
    """
    from accelerate.utils import broadcast_object_list

    done = [False]
    if state.is_main_process:
        try:
            yield
            done = [True]
        finally:
            broadcast_object_list(done)
        return
    broadcast_object_list(done)
    if not done[0]:
        raise SystemExit(1)
    yield


def mean_of_all(accelerator: Accelerator, value: Tensor) -> float:
    """The mean over the processes of a scalar tensor that each has."""
    value = value.detach()
    return float(value if accelerator.num_processes == 1 else accelerator.reduce(value.float(), "mean"))


def any_of_all(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set in any process: what all of them have to act upon in the same step."""
    if accelerator.num_processes == 1:
        return flag
    import torch

    return mean_of_all(accelerator, torch.tensor(float(flag), device=accelerator.device)) > 0


def value_of_first(value: T) -> T:
    """The first process's value, in every process."""
    from accelerate.utils import broadcast_object_list

    values: list[T] = broadcast_object_list([value])
    return values[0]
