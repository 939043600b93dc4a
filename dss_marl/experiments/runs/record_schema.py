"""JSON Schema of run records, from the model that reads them."""

from __future__ import annotations

import json
from typing import Any

from dss_marl.envs.scenario_schema import DIALECT
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_record import RunRecord


def record_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a run's ``record.json``; that of its scenario is ``scenario_schema.json_schema``."""
    schema = RunRecord.model_json_schema(mode="serialization")
    settings = TrainingSettings.model_json_schema(mode="serialization")
    parts = settings.pop("$defs", {})  # references name them at the root
    schema["$defs"] = {**schema.get("$defs", {}), **parts, "TrainingSettings": settings}
    about = schema["properties"]["settings"]["description"]
    schema["properties"]["settings"] = {"description": about, "$ref": "#/$defs/TrainingSettings"}
    return {"$schema": DIALECT, **schema, "title": "dss_marl run record"}


def record_schema_text() -> str:
    """The schema as the text of a JSON file."""
    return json.dumps(record_schema(), indent=1, ensure_ascii=False) + "\n"
