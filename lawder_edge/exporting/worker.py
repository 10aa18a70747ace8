"""One export in a process of its own: `python -m lawder_edge.exporting.worker TASK_JSON` prints its ExportOutcome."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from typing import Literal

from lawder_edge.codec import decode
from lawder_edge.errors import LawderError, last_line
from lawder_edge.exporting.outcome import ExportOutcome, export_verified
from lawder_edge.exporting.request import ExportTask
from lawder_edge.processes import own_stdout


def outcome_of_task(task: ExportTask) -> ExportOutcome:
    """What became of it; whatever goes wrong is the outcome's reason, with a traceback on stderr if unforeseen."""

    def failed(reason: str, code: int) -> ExportOutcome:
        status: Literal["rejected", "failed"] = "rejected" if code == 3 else "failed"
        return ExportOutcome(task.target, task.request.precision, status, reason=reason, exit_code=code)

    try:
        return export_verified(task.target, task.request, out=task.out, shared_folder=task.shared)
    except LawderError as error:
        return failed(str(error), error.exit_code)
    except OSError as error:  # of a disk or a place, mostly
        traceback.print_exc()
        return failed(f"{error.filename or 'output'}: {error.strerror}", 2)
    except Exception as error:  # the boundary of the process: a toolchain may raise anything
        traceback.print_exc()
        return failed(f"{type(error).__name__}: {last_line(error)}", 1)


def main(task_json: str) -> None:
    """Answer on the real stdout; what toolchains print meanwhile goes to stderr."""
    # A user's own network (--model my_package:Net) stands where they work. Last, so that it hides no installed package.
    sys.path.append("")
    out = own_stdout()
    outcome = outcome_of_task(decode(ExportTask, task_json, source="task"))
    out.write(json.dumps(asdict(outcome)) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
