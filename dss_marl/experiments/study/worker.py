"""The process of one job, which it reads from its input; what goes wrong is the last line of its output."""

from __future__ import annotations

import os
import sys
import traceback

from dss_marl.experiments.study.job import Job, stop_with


def main() -> int:
    """Do the job; 0 if it was done."""
    parent = os.getppid()
    job = Job.model_validate_json(sys.stdin.read())
    try:
        job.run(stop_with(parent))
    except Exception as error:  # whatever it is becomes the reason of a cell that failed
        traceback.print_exc()
        said = " ".join(str(error).split()) or "without a message"
        sys.stderr.write(f"{type(error).__name__}: {said}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
