"""Errors meant for the person at the keyboard: what was wrong, what was got, what was wanted, what to do.

Each carries the exit code that the command line returns.
"""

from __future__ import annotations


class LawderError(Exception):
    """Base of everything raised for users."""

    exit_code = 1


class BadInput(LawderError):
    """Usage or input that cannot be worked with."""

    exit_code = 2


class BadImage(BadInput):
    """An image or mask file that cannot be read as one."""


class BadDataset(BadInput):
    """A data folder, split file or pairing that does not hold together."""


class BadCheckpoint(BadInput):
    """Weights that are missing, corrupt, or of another model."""


class BadBundle(BadInput):
    """A bundle whose manifest or hashes do not hold."""


class OutputExists(BadInput):
    """Something stands where output should go, and --overwrite was not given."""


class GateFailed(LawderError):
    """An artifact that does not give the same masks as its source."""

    exit_code = 3


class Unavailable(LawderError):
    """A target, runtime or extra that is not available on this machine."""

    exit_code = 4


class OverBudget(LawderError):
    """RAM, flash or latency above what was allowed."""

    exit_code = 5


def first_line(said: BaseException | str) -> str:
    """Of what an error or a program said: at most 300 characters, no stop. Of an error without words its name."""
    return _lines(said)[0][:300].rstrip(".")


def last_line(said: BaseException | str) -> str:
    """As `first_line`."""
    return _lines(said)[-1][:300].rstrip(".")


def _lines(said: BaseException | str) -> list[str]:
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    return lines or [type(said).__name__ if isinstance(said, BaseException) else ""]
