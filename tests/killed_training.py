"""A training that kills itself: python killed_training.py FOLDER SCENARIO_JSON ENGINE MOMENT NUMBER.

MOMENT is what is going on as it dies: "rollout", "evaluation", "checkpoint" (the file half written) or "record" (just
after it); NUMBER counts them from 1. With MOMENT "never" it lives.
"""

import json
import os
import signal
import sys
from pathlib import Path

from dss_marl._assets import read_text
from dss_marl.envs.scenario import scenario_from
from dss_marl.experiments import resume, train
from dss_marl.experiments.runs.run_record import RunRecord


class Death:
    """Counts moments, and kills this process without a word at the one that was asked for."""

    def __init__(self, moment, number):
        self.moment, self.left = moment, number

    def at(self, moment):
        if moment == self.moment:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(folder, scenario, engine, moment, number):
    import torch

    death, write, save = Death(moment, int(number)), torch.save, RunRecord.save

    def dying_write(content, file):
        if death.moment == "checkpoint" and death.left == 1:
            file.write(b"half of it")
            file.flush()
        death.at("checkpoint")
        write(content, file)

    def dying_save(record, path):
        found = save(record, path)
        death.at("record")
        return found

    def report(steps, figures):
        death.at("rollout" if figures is None else "evaluation")

    torch.save, RunRecord.save = dying_write, dying_save
    if (folder / "record.json").is_file():
        resume(folder, report=report)
    else:
        data = json.loads(read_text(scenario, "scenario"))
        train(scenario_from(data), folder, seed=3, report=report, engine=engine)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
