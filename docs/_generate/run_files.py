"""reference/run_files.md: what each file of a run, and of the other commands, is."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from _generate.markdown import table, text_of
from dss_marl.experiments.runs.run_folder import CHECKPOINT, DERIVED, LOGS, PROGRESS
from dss_marl.experiments.runs.run_record import FILE, Resumption, RunRecord, Stage
from dss_marl.experiments.validation.result_files import PROOF, TABLE

HEAD = """# Files of a run

`dss-marl train NAME --out runs/mine` writes a folder with everything needed to repeat the run, and nothing in it is executed when
it is read ([what is data and what is code](../guide/trust.md)). `dss-marl evaluate runs/mine` adds the tables and pictures.

"""
_FILES = {
    FILE: "the record: scenario, settings, seed, versions, hashes, learning curve; written first and kept up to date",
    "policy.safetensors": "the shared policy that was best on validation days: weights, and its layout as JSON",
    "last.safetensors": "the same of the last checkpoint",
    "policy-KIND.safetensors, last-KIND.safetensors": "with `sharing: per_kind`, those of each kind of agent; with `none`, of each agent",
    CHECKPOINT: "all that learning goes on from: networks, optimisers, random streams, counters, curve, replay buffer, best policy; numbers and text, so that reading it runs no code",
    f"{PROGRESS}, progress-KIND.csv": "the figures of each update, and those of evaluations, as SB3 logs them",
    "model.zip, model-KIND.zip": "with `--with-sb3`, SB3's own model of the best policy; loaded only with `--trust`",
    f"{LOGS}/": "TensorBoard's events: `tensorboard --logdir runs`",
}
_DERIVED = {
    "table.md": "the comparison with the reference controllers, with intervals, as Markdown",
    "table.json": "the key figures of every controller, day by day, and under `trained_on` those of the policy on another engine that it was trained on",
    "feeder.png": "map of the feeder with zones and devices",
    "voltages.png": "range of voltages over a test day, by controller",
    "learning.png": "return on validation days over agent-steps",
}
SCHEMA = """`dss-marl schema --record` prints the JSON Schema, with the [training settings](training.md).
"""
_IN: dict[type[BaseModel], str] = {Stage: "stages", Resumption: "resumptions"}
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
    missing = set(DERIVED) - set(_DERIVED)
    if missing:
        raise LookupError(f"docs/_generate/run_files.py does not describe {', '.join(sorted(missing))}")
    parts = [HEAD, "## Written by training\n", _table("file", _FILES)]
    parts += ["## Added by evaluation\n", _table("file", {name: _DERIVED[name] for name in DERIVED})]
    parts += [f"## Keys of `{FILE}`\n", SCHEMA]
    for model in (RunRecord, Stage, Resumption):
        if model is not RunRecord:
            parts.append(f"### Keys of one of the `{_IN[model]}`\n\n{text_of(model)}\n")
        parts.append(_table("key", {name: str(field.description) for name, field in model.model_fields.items()}))
    return "\n".join([*parts, "## Files of other commands\n", table(("command", "writes", "more"), _OTHERS)])


def _table(head: str, rows: dict[str, str]) -> str:
    return table((head, "content"), [(f"`{name}`", text) for name, text in rows.items()])
