"""reference/run_files.md: what each file of a run, and of the other commands, is."""

from __future__ import annotations

from collections.abc import Iterator

from _generate.markdown import table
from dss_marl.experiments.runs.run_folder import DERIVED, LOGS
from dss_marl.experiments.runs.run_record import FILE, RunRecord
from dss_marl.experiments.validation.result_files import PROOF, TABLE

HEAD = """# Files of a run

`dss-marl train NAME --out runs/mine` writes a folder with everything needed to repeat the run, and nothing in it is executed when
it is read ([what is data and what is code](../guide/trust.md)). `dss-marl evaluate runs/mine` adds the tables and pictures.

"""
_FILES = {
    FILE: "the record: scenario, settings, seed, versions, hashes, learning curve; written first and kept up to date",
    "policy.safetensors": "the shared policy that was best on validation days: weights, and its layout as JSON",
    "policy-KIND.safetensors": "with `policies: per_kind`, that of each kind of agent",
    "model.zip, model-KIND.zip": "with `--with-sb3`, SB3's own model of the same policy, from which SB3 goes on learning; loaded only with `--trust`",
    f"{LOGS}/": "TensorBoard's events: `tensorboard --logdir runs`",
}
_DERIVED = {
    "table.md": "the comparison with the reference controllers, with intervals, as Markdown",
    "table.json": "the key figures of every controller, day by day, and under `trained_on` those of the policy on another engine that it was trained on",
    "feeder.png": "map of the feeder with zones and devices",
    "voltages.png": "range of voltages over a test day, by controller",
    "learning.png": "return on validation days over agent-steps",
}
_RECORD = {
    "format": "number of the record's format",
    "status": "`running` or `finished`; a run that was stopped stays `running`",
    "scenario": "the whole scenario",
    "scenario_sha256": "hash of the scenario",
    "settings": "all [training settings](training.md), defaults included",
    "seed": "of the run",
    "route": "`native` or `supersuit`",
    "engine": "batch engine that solved the copies that learned; `opendss` where it is missing",
    "num_cpus": "worker processes",
    "started": "date and time, UTC",
    "git_commit": "of the checkout, with `+` if it had changes",
    "versions": "of Python and packages",
    "machine": "operating system and processor",
    "profiles_sha256": "hash of the year of days",
    "files": "the policy's files and their SHA-256, which are compared before they are loaded",
    "seconds": "duration of training [s]",
    "agent_steps": "trained so far",
    "agent_steps_per_second": "mean speed, evaluations included [1/s]",
    "history": "learning curve: agent-steps and figures on validation days of each evaluation",
}
_OTHERS = (
    ("`dss-marl evaluate ... --series DIR`", "a folder of tables for each controller", "[data](../guide/data.md)"),
    ("`dss-marl evaluate RUN RUN ... --out DIR`", "`table.md`, `table.json`, `days.csv`, `paired.csv`, and `marl_eval.json` in the layout of MARL-eval", "[benchmarks](../guide/benchmark.md)"),
    ("`dss-marl benchmark SUITE`", "a folder of runs, each with `evaluation.json`, its figures on the test days; `results.json`, tables and pictures", "[benchmarks](../guide/benchmark.md)"),
    ("`dss-marl ship RUN`", "`policies/NAME`: networks, record, results and model card", "[trained policies](../policies/index.md)"),
    ("`dss-marl leaderboard RUN...`", "`leaderboard/SCENARIO/NAME`: results, records and networks; `LEADERBOARD.md`", "[benchmarks](../guide/benchmark.md)"),
    ("`dss-marl dataset`", "Minari datasets", "[data](../guide/data.md)"),
    ("`dss-marl record`", "a film, GIF or MP4", "[rendering](../guide/rendering.md)"),
    ("`dss-marl solve NAME`", "`results/NAME/plans.npz`: the joint actions (T, F) of solved days", "[glossary](../glossary.md)"),
    ("`dss-marl validate NAME`", f"`results/NAME/{PROOF}` and `{TABLE}`: checks, and figures day by day", "[the suite](../suite.md)"),
    ("`dss-marl zones ... --save`", "a partition as YAML, for `zones: {method: mapping, file: ...}`", "[zones](../guide/zones.md)"),
)  # fmt: skip


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/run_files.md", page()


def page() -> str:
    """Files of the folder, fields of the record, files of other commands."""
    for known, described in ((DERIVED, _DERIVED), (RunRecord.model_fields, _RECORD)):
        missing = set(known) - set(described)
        if missing:
            raise LookupError(f"docs/_generate/run_files.py does not describe {', '.join(sorted(missing))}")
    parts = [HEAD, "## Written by training\n", _table("file", _FILES)]
    parts += ["## Added by evaluation\n", _table("file", {name: _DERIVED[name] for name in DERIVED})]
    parts += [f"## Keys of `{FILE}`\n", _table("key", {name: _RECORD[name] for name in RunRecord.model_fields})]
    return "\n".join([*parts, "## Files of other commands\n", table(("command", "writes", "more"), _OTHERS)])


def _table(head: str, rows: dict[str, str]) -> str:
    return table((head, "content"), [(f"`{name}`", text) for name, text in rows.items()])
