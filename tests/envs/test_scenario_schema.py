"""The JSON Schema of scenario files: what ships fits it, and mistakes do not."""

import copy
import json

import pytest
from common import ROOT

from dss_marl._assets import known_names, read_yaml
from dss_marl.devices import KINDS
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_schema import json_schema, schema_text

jsonschema = pytest.importorskip("jsonschema")
GOOD = {
    "feeder": {"name": "ieee13"},
    "devices": [{"kind": "inverter", "bus": 634, "kw": 400}, {"kind": "regulator"}],
    "zones": {"method": "balanced", "count": 2},
    "profiles": {"seed": 1},
    "observations": ["zone_voltage", "my_module:feature"],
    "rewards": {"loss": 1, "my_module:quiet": 0.5},
}


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def problems(validator, data):
    return [(".".join(map(str, error.absolute_path)), error.message) for error in validator.iter_errors(data)]


@pytest.mark.parametrize("name", known_names("scenarios"))
def test_every_shipped_scenario_fits(validator, name):
    assert problems(validator, read_yaml((ROOT / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8"))) == []


def test_what_files_may_say_fits(validator):
    assert problems(validator, GOOD) == []
    assert problems(validator, {"base": "ieee13_volt_var", "profiles": {"pv_scale": 2}}) == []
    own = {"kind": "my_module:Device", "anything": [1]}
    circuit = {"kind": "battery", "names": "circuit"}
    assert (
        problems(validator, {**GOOD, "devices": [own, circuit], "profiles": {"kind": "my_module:Days", "x": 1}}) == []
    )


MISTAKES = {
    "an unknown key": (lambda d: d.update(stepz=3), "", "'stepz' was unexpected"),
    "a field of no such device": (lambda d: d["devices"][0].update(kwp=1), "devices.0", "'kwp' was unexpected"),
    "an unknown kind": (lambda d: d["devices"][0].update(kind="invertor"), "devices.0.kind", "invertor"),
    "a number as text": (lambda d: d["devices"][0].update(kw="much"), "devices.0.kw", "'much' is not of type"),
    "a number out of range": (lambda d: d["devices"][0].update(kw=-1), "devices.0.kw", "-1 is less than"),
    "a device without a bus": (lambda d: d["devices"][0].pop("bus"), "devices.0", "'bus' is a required"),
    "rating and names": (
        lambda d: d["devices"][0].update(names="circuit"),
        "devices.0",
        "False schema does not allow 634",
    ),
    "an unknown method": (lambda d: d["zones"].update(method="balance"), "zones.method", "balance"),
    "an option of no such method": (lambda d: d["zones"].update(counts=2), "zones", "'counts' was unexpected"),
    "days without a seed": (lambda d: d["profiles"].pop("seed"), "profiles", "'seed' is a required"),
    "a table without a path": (lambda d: d.update(profiles={"kind": "csv"}), "profiles", "'path' is a required"),
    "a field of other days": (lambda d: d["profiles"].update(path="x.csv"), "profiles", "'path' was unexpected"),
    "an unknown term": (lambda d: d["rewards"].update(los=1), "rewards", "'los'"),
    "an unknown feature": (lambda d: d["observations"].append("zone_volt"), "observations.2", "zone_volt"),
    "a training setting": (lambda d: d.update(training={"gama": 0.9}), "training", "'gama' was unexpected"),
    "no rewards": (lambda d: d.pop("rewards"), "", "'rewards' is a required"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_does_not_fit(validator, mistake):
    change, where, says = MISTAKES[mistake]
    data = copy.deepcopy(GOOD)
    change(data)
    found = problems(validator, data)
    assert any(path == where and says in message for path, message in found), found


def test_every_field_is_explained():
    schema = json.loads(schema_text())
    tables = [("scenario", schema), *schema["$defs"].items()]
    bare = [
        f"{title}.{key}"
        for title, table in tables
        for key, field in table.get("properties", {}).items()
        if not field.get("description") and "const" not in field
    ]
    assert bare == []
    assert {kind.Spec.__name__ for kind in KINDS.values()} <= set(schema["$defs"])
    assert all(field.description for field in Scenario.model_fields.values())
