"""A TensorRT engine that takes and gives numpy arrays.

Needs numpy, NVIDIA's driver, and the package that the engine is of: tensorrt (8.5 or later) or tensorrt_rtx. Memory is
had from the driver itself, so that nothing else has to be installed. Used by run.py on a device and by lawder_edge.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

INPUT = "image"
# An engine of one flavor is none of the other.
RTX_SUFFIX = ".rtx.engine"
_DRIVERS = ("nvcuda.dll",) if os.name == "nt" else ("libcuda.so.1", "libcuda.so")


class EngineError(Exception):
    """An engine that cannot be opened here, or fails."""


class NoGpuError(EngineError):
    """No NVIDIA GPU, or no driver for it."""


class WrongSizeError(EngineError):
    """An input that the engine was not built for."""


class Memory(Protocol):
    """What an engine needs of a GPU. Pointers are plain integers."""

    stream: int

    def allocate(self, size_bytes: int) -> int: ...

    def free(self, pointer: int) -> None: ...

    def upload(self, pointer: int, array: Float) -> None: ...

    def download(self, array: Float, pointer: int) -> None: ...

    def wait(self) -> None: ...


class Gpu:
    """Memory and a stream of the first GPU, through the CUDA driver. Raises NoGpuError."""

    def __init__(self) -> None:
        self._driver = _open_driver()
        self._call("cuInit", ctypes.c_uint(0), error=NoGpuError)
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0), error=NoGpuError)
        # The context that TensorRT itself uses.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device, error=NoGpuError)
        self._context = context
        self._enter()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self.stream = stream.value or 0

    def allocate(self, size_bytes: int) -> int:
        """Raises EngineError where there is no room."""
        pointer = ctypes.c_uint64()
        self._enter()
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
        return pointer.value

    def free(self, pointer: int) -> None:
        self._enter()
        self._call("cuMemFree_v2", ctypes.c_uint64(pointer))

    def upload(self, pointer: int, array: Float) -> None:
        """array: contiguous. Returns when it is there."""
        self._enter()
        source = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(pointer), source, ctypes.c_size_t(array.nbytes))

    def download(self, array: Float, pointer: int) -> None:
        """array: contiguous, is filled."""
        self._enter()
        target = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(pointer), ctypes.c_size_t(array.nbytes))

    def wait(self) -> None:
        """Until everything on the stream is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _enter(self) -> None:
        # A context is current in one thread; calls may come from another than the first.
        self._call("cuCtxSetCurrent", self._context)

    def _call(self, name: str, *arguments: Any, error: type[EngineError] = EngineError) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            raise error(f"{name} of NVIDIA's driver fails with {code}")


def _open_driver() -> Any:
    for name in _DRIVERS:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise NoGpuError(f"NVIDIA's driver is not installed ({_DRIVERS[0]} is missing)")


class Engine:
    """A deserialised engine. data: of the file. trt: the module tensorrt or tensorrt_rtx. memory: of the GPU. output:
    its name, which is what it gives: logits or probabilities.

    Raises EngineError for an engine of another release, another GPU or another flavor.
    """

    def __init__(self, data: bytes, trt: Any, memory: Memory, *, output: str = "logits") -> None:
        self._memory = memory
        self._output = output
        self._logger = quiet_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError(
                f"TensorRT {trt.__version__} refuses it ({last_error(self._logger)}): an engine runs on the GPUs and "
                "with the release that it was built for"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"there is no room for it on the GPU ({last_error(self._logger)})")
        self._pointers: dict[str, tuple[int, int]] = {}

    def __call__(self, tensor: Float) -> Float:
        """(B, C, h, w) float32 -> (B, classes, h, w) float32. Raises WrongSizeError, EngineError."""
        tensor = np.ascontiguousarray(tensor, np.float32)
        low, _, high = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(INPUT, 0))
        fits = len(low) == tensor.ndim and all(a <= n <= b for a, n, b in zip(low, tensor.shape, high))  # noqa: B905
        if not fits or not self._context.set_input_shape(INPUT, tensor.shape):
            raise WrongSizeError(f"the engine takes {low} to {high}, got {tensor.shape}")
        output = np.empty(tuple(self._context.get_tensor_shape(self._output)), np.float32)
        for name, array in ((INPUT, tensor), (self._output, output)):
            self._context.set_tensor_address(name, self._room(name, array.nbytes))
        self._memory.upload(self._pointers[INPUT][0], tensor)
        if not self._context.execute_async_v3(self._memory.stream):
            raise EngineError(f"the engine fails on an input of {tensor.shape}: {last_error(self._logger)}")
        self._memory.wait()
        self._memory.download(output, self._pointers[self._output][0])
        return output

    def _room(self, name: str, size_bytes: int) -> int:
        """A buffer of at least that size, kept for the next call."""
        pointer, room = self._pointers.get(name, (0, 0))
        if room < size_bytes:
            if pointer:
                self._memory.free(pointer)
                del self._pointers[name]
            pointer = self._memory.allocate(size_bytes)
            self._pointers[name] = (pointer, size_bytes)
        return pointer


def quiet_logger(trt: Any) -> Any:
    """A logger that keeps errors rather than printing them. trt: the module."""

    class Logger(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)

    return Logger()


def last_error(logger: Any) -> str:
    """What TensorRT said last of its errors."""
    return logger.errors[-1].strip()[:300] if logger.errors else "it does not say why"
