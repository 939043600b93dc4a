"""How to repeat the runs: commands, scenario, versions, and what to cite."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from dss_marl._assets import known_names
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.reports.html.runs import ReportRun
from dss_marl.experiments.runs.run_record import OPENDSS

# OpenDSS: Dugan and McDermott, IEEE PES General Meeting 2011, doi 10.1109/PES.2011.6039829. PettingZoo: Terry et al.,
# NeurIPS 2021. Stable-Baselines3: Raffin et al., JMLR 22(268), 2021. Interquartile means: Agarwal et al., NeurIPS 2021.
_BIBTEX = """@software{dss_marl,
  title = {dss_marl: multi-agent environments on OpenDSS},
  year  = {2026},
  note  = {Version VERSION}
}
@inproceedings{opendss,
  author    = {Dugan, Roger C. and McDermott, Thomas E.},
  title     = {An open source platform for collaborating on smart grid research},
  booktitle = {IEEE Power and Energy Society General Meeting},
  year      = {2011},
  doi       = {10.1109/PES.2011.6039829}
}
@inproceedings{pettingzoo,
  author    = {Terry, J. K. and others},
  title     = {PettingZoo: Gym for Multi-Agent Reinforcement Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}
@article{stable-baselines3,
  author  = {Raffin, Antonin and Hill, Ashley and Gleave, Adam and Kanervisto, Anssi and Ernestus, Maximilian and
             Dormann, Noah},
  title   = {Stable-Baselines3: Reliable Reinforcement Learning Implementations},
  journal = {Journal of Machine Learning Research},
  volume  = {22},
  number  = {268},
  year    = {2021}
}
"""
_IQM = """@inproceedings{rliable,
  author    = {Agarwal, Rishabh and Schwarzer, Max and Castro, Pablo Samuel and Courville, Aaron and
               Bellemare, Marc G.},
  title     = {Deep Reinforcement Learning at the Edge of the Statistical Precipice},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}
"""


def commands(runs: Sequence[ReportRun], options: str) -> str:
    """The commands that repeat the runs and this report."""
    lines, folders = [], []
    for run in runs:
        record, folder = run.record, shlex.quote(_place(run))
        folders.append(folder)
        command = f"dss-marl train {shlex.quote(_source(run))} --seed {record.seed} --num-cpus {record.num_cpus}"
        if _shipped(run) and _agent_steps(run):
            command += f" --steps {_agent_steps(run)}"
        command += "" if record.route == "native" else f" --route {record.route}"
        command += "" if record.engine == OPENDSS else f" --engine {shlex.quote(record.engine)}"
        lines.append(f"{command} --out {folder}")
        asked = [*(stage.agent_steps for stage in record.stages), record.settings["agent_steps"]]
        lines += [f"dss-marl train --resume {folder} --steps {more}" for more in asked[1:]]
    lines += [f"dss-marl evaluate {folder}" for folder in folders]
    lines.append(f"dss-marl report {' '.join(folders)} --out report.html{options}")
    return "\n".join(lines)


def scenario_yaml(run: ReportRun) -> str:
    """The complete scenario of a run, as a file that 'dss-marl train' reads."""
    return str(yaml.safe_dump(run.record.scenario, sort_keys=False, allow_unicode=True, width=100))


def facts(run: ReportRun) -> list[tuple[str, str]]:
    """What identifies a run, as pairs."""
    record = run.record
    rows = [
        ("run", _place(run)),
        ("seed", str(record.seed)),
        ("started", record.started),
        ("status", record.status),
        ("commit", record.git_commit or "unknown"),
        ("machine", f"{record.machine}, {record.num_cpus} worker processes, route {record.route}"),
        ("engine", record.engine),
        ("training", f"{record.agent_steps:,} agent-steps in {record.seconds:,.0f} s"),
        ("scenario SHA-256", record.scenario_sha256),
        ("days SHA-256", record.profiles_sha256),
    ]
    rows += [(f"{name} SHA-256", digest) for name, digest in record.files.items()]
    return rows


def versions(runs: Sequence[ReportRun]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the versions trained with, and of those that this report was made with."""
    names = list(dict.fromkeys(name for run in runs for name in run.record.versions))
    heads = ["package", *(f"{run.label}" for run in runs), "this report"]
    rows = [[name, *(run.record.versions.get(name, "unknown") for run in runs), _version(name)] for name in names]
    return heads, rows


def bibtex(runs: Sequence[ReportRun]) -> str:
    """What to cite, as BibTeX."""
    text = _BIBTEX.replace("VERSION", version("dss_marl"))
    return text + (_IQM if len(runs) > 1 else "")


def settings_rows(run: ReportRun) -> list[tuple[str, Any]]:
    """Training settings of a run."""
    return list(run.record.settings.items())


def _place(run: ReportRun) -> str:
    """The folder as a reader elsewhere would call it."""
    return f"runs/{run.folder.resolve().name}"


def _shipped(run: ReportRun) -> bool:
    """Whether the run began with the shipped scenario of its name, but for the number of agent-steps."""
    if run.scenario.name not in known_names("scenarios"):
        return False
    shipped = load_scenario(run.scenario.name)
    one, other = (s.model_dump(mode="json") for s in (shipped, run.scenario))
    if run.record.stages:
        other["training"]["evaluations"] = run.record.stages[0].evaluations
    for data in (one, other):
        data["training"] = {**TrainingSettings.model_validate(data["training"]).model_dump(), "agent_steps": 0}
    return one == other


def _agent_steps(run: ReportRun) -> int:
    """Agent-steps that were asked for at first, in place of the scenario's; 0 for none."""
    own = load_scenario(run.scenario.name).training.get("agent_steps")
    asked = run.record.stages[0].agent_steps if run.record.stages else int(run.record.settings["agent_steps"])
    return asked if asked != own else 0


def _source(run: ReportRun) -> str:
    return run.scenario.name if _shipped(run) else f"{run.scenario.name}.yaml"


def needs_file(run: ReportRun) -> bool:
    """Whether the scenario is a file of the user's own, which the report holds."""
    return not _shipped(run)


def _version(name: str) -> str:

    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
