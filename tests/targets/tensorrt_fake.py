"""`tensorrt` and a GPU as far as the package calls them, for machines that have neither."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class FakeTensorRt:
    """`tensorrt` as far as it is called, with an engine that doubles its input's first channel.

    Stands in for classic TensorRT and for a GPU, neither of which is on a machine without NVIDIA's hardware.
    """

    __version__ = "10.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    BuilderFlag = SimpleNamespace(TF32="TF32", FP16="FP16", INT8="INT8", GPU_FALLBACK="GPU_FALLBACK")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS")
    DeviceType = SimpleNamespace(DLA="DLA")

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)

        def __init__(self) -> None:
            pass

    def __init__(self, memory: FakeMemory | None = None) -> None:
        self.memory = memory
        self.config: Any = None
        self.network_flags = 0
        self.parsed = b""

    # Of building.
    def Builder(self, logger: Any) -> Any:  # noqa: N802
        def create_network(flags: int) -> Any:
            self.network_flags = flags
            return SimpleNamespace()

        def create_config() -> FakeConfig:
            self.config = FakeConfig()
            return self.config  # type: ignore[no-any-return]

        profile = SimpleNamespace(set_shape=lambda *shapes: None)
        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=create_config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: b"engine",
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        def parse(data: bytes) -> bool:
            self.parsed = data
            return True

        return SimpleNamespace(parse=parse)

    # Of running.
    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialize(data: bytes) -> Any:
            if data != b"engine":
                logger.log(self.ILogger.Severity.ERROR, "built for another release")
                return None
            shapes = ((1, 3, 32, 32), (1, 3, 64, 64), (2, 3, 96, 96))
            return SimpleNamespace(
                create_execution_context=lambda: FakeContext(self.memory),
                get_tensor_profile_shape=lambda name, profile: shapes,
            )

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class FakeConfig:
    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.cache = b""
        self.workspace = 0

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, kind: str, size: int) -> None:
        self.workspace = size

    def create_timing_cache(self, data: bytes) -> bytes:
        return data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> None:
        self.cache = cache

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"+new")

    def add_optimization_profile(self, profile: Any) -> None:
        pass


class FakeContext:
    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.shape[0], 1, *self.shape[2:])

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        tensor = self.memory.buffers[self.addresses["image"]][: int(np.prod(self.shape))].reshape(self.shape)
        result = (2 * tensor[:, :1]).ravel()
        (output,) = set(self.addresses) - {"image"}
        self.memory.buffers[self.addresses[output]][: result.size] = result
        return not self.memory.fails


class FakeMemory:
    """A GPU's memory: buffers of float32 by pointer."""

    stream = 7

    def __init__(self, *, fails: bool = False) -> None:
        self.buffers: dict[int, NDArray[np.float32]] = {}
        self.fails = fails
        self.allocated = 0

    def allocate(self, size_bytes: int) -> int:
        self.allocated += 1
        self.buffers[self.allocated] = np.zeros(size_bytes // 4, np.float32)
        return self.allocated

    def free(self, pointer: int) -> None:
        del self.buffers[pointer]

    def upload(self, pointer: int, array: NDArray[np.float32]) -> None:
        self.buffers[pointer][: array.size] = array.ravel()

    def download(self, array: NDArray[np.float32], pointer: int) -> None:
        array[...] = self.buffers[pointer][: array.size].reshape(array.shape)

    def wait(self) -> None:
        pass
