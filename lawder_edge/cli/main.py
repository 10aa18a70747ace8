"""`lawder-edge VERB`: finds the verb, turns errors into messages and exit codes.

Exit codes: 0 ok, 1 internal, 2 usage or bad input, 3 a gate failed, 4 target or runtime not available here, 5 over a
budget, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from lawder_edge.cli import (
    bench,
    card,
    data_check,
    data_phantom,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    qat,
    quantize,
    synth_sample,
    synth_score,
    synth_train,
    targets,
    train,
    verify,
)
from lawder_edge.errors import LawderError
from lawder_edge.training.processes import is_first

ALIASES = {"val": "eval", "evaluate": "eval", "benchmark": "bench", "infer": "predict"}
# First words of verbs of two.
GROUPS = ("data", "synth")

# What a user's disk and the paths that they name can cause; any other OSError is an error of ours.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRONG_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip

DESCRIPTION = """From a folder of images and masks to a segmenter on a small device, with proof that the mask stayed the
same. Start with: lawder-edge export --model order --target onnx --out order-onnx"""


def verbs(argv: Sequence[str]) -> dict[str, Callable[..., int]]:
    """The functions behind the verbs. Each returns its exit code."""
    return {
        "data check": data_check.check,
        "data phantom": data_phantom.phantom,
        "train": train.command(argv),
        "synth train": synth_train.command(argv),
        "synth sample": synth_sample.sample,
        "synth score": synth_score.score,
        "qat": qat.qat,
        "quantize": quantize.quantize,
        "eval": evaluate.evaluate,
        "export": export.export,
        "verify": verify.verify,
        "predict": predict.predict,
        "bench": bench.bench,
        "demo": demo.demo,
        "card": card.card,
        "targets": targets.targets,
        "doctor": doctor.doctor,
    }


def run(argv: Sequence[str]) -> int:
    """Returns: the exit code of `lawder-edge` called with `argv` (without the program's name)."""
    args = [ALIASES.get(a, a) if i == 0 else a for i, a in enumerate(argv)]
    try:
        program, known = "lawder-edge", verbs(args)
        # tyro takes a verb for one word, and only the first of a line.
        if args and args[0] in GROUPS:
            group, args = f"{args[0]} ", args[1:]
            known = {name.removeprefix(group): call for name, call in known.items() if name.startswith(group)}
            program = f"lawder-edge {group.strip()}"
        try:
            result: Any = tyro.extras.subcommand_cli_from_dict(
                known, prog=program, description=DESCRIPTION, args=args or ["--help"]
            )
        finally:
            # A reader that has gone is noticed here, rather than by the interpreter as it ends.
            sys.stdout.flush()
    except LawderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if is_first():
            print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _FULL and (error.errno not in _WRONG_PLACE or error.filename is None):
            raise
        remedy = "free some space" if error.errno in _FULL else "put that right"
        print(
            f"error: {error.filename or 'output'}: {error.strerror}. What stood there before is unchanged; {remedy} or "
            "name another place, then run the same command again.",
            file=sys.stderr,
        )
        return 2
    return int(result or 0)


def main() -> None:
    """Entry point of the console script."""
    # A user's own network (--model my_package:Net) stands where they work. Last, so that it hides no installed package.
    sys.path.append("")
    # Names of files may hold what the terminal or UTF-8 cannot: shown as \udcff, as stderr shows them.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
