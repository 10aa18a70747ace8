"""What the exports of one command compute alike: the first that needs it computes it, the others read it.

Each export is a process of its own, so it lies in files, in a folder that lives as long as the command. Their names are
hashes of all that the content depends on, the weights' bytes among it: what other weights gave is never found.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lawder_edge.bundle.processing import Float, Samples
from lawder_edge.bundle.runner import Runner, RunnerAround
from lawder_edge.files import write_file
from lawder_edge.targets.forms import form_key, make_form, read_form
from lawder_edge.targets.registry import ExportSpec, Form, Network, Program

# Answers of one runner that are kept, so that a thousand images do not fill a disk.
MOST_ANSWERS = 256
# The runner of the network in PyTorch.
PYTORCH = "pytorch"


class Shared:
    """folder: None to share nothing. network: fingerprint of the weights and name of the model, part of every key."""

    def __init__(self, folder: Path | None, *, network: str) -> None:
        self._folder = folder
        self._network = network

    def once(self, what: str, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from the file where it has given it before, for this network and for an equal `what`.

        Of processes that ask at the same time one computes and the others wait. Raises what `make` raises.
        """
        if self._folder is None:
            return make()
        key = hashlib.sha256(json.dumps([self._network, what]).encode()).hexdigest()
        path = self._folder / key
        with _alone(self._folder / f"{key}.lock"):
            if not path.exists():
                write_file(path, make())
            return path.read_bytes()

    def form(self, form: Form, network: Callable[[], Network], spec: ExportSpec) -> Program:
        """What targets are written from. network: gives what the form is made from. Raises BadInput as the targets."""
        return read_form(form, self.once(form_key(form, spec), lambda: make_form(form, network, spec)))


# For what no other export computes.
ALONE = Shared(None, network="")


class SharedRunner(RunnerAround):
    """A runner that answers each tensor once. what: tells it from other runners of the same network."""

    def __init__(self, runner: Runner, shared: Shared, *, what: str) -> None:
        super().__init__(runner)
        self._shared, self._what = shared, what
        self._answers = 0

    def infer(self, tensor: Float) -> Samples:
        self._answers += 1
        if self._answers > MOST_ANSWERS:
            return self.inner.infer(tensor)
        given = hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()
        what = f"{self._what} {self.kind} {self.threshold} {tensor.shape} {tensor.dtype} {given}"
        stored = self._shared.once(what, lambda: _stored(self.inner.infer(tensor)))
        answer: Samples = np.load(io.BytesIO(stored), allow_pickle=False)
        return answer


def _stored(answer: Samples) -> bytes:
    stored = io.BytesIO()
    np.save(stored, answer, allow_pickle=False)
    return stored.getvalue()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; a lock goes with its process. On Windows, which has none such, several may compute."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with lock.open("wb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
