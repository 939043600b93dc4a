"""The public names: complete, there, and on the page that lists them."""

import importlib
import inspect
import re

import make_api
import pytest
from common import ROOT

NEEDS = {
    "dss_marl.engines.batched.torch_backend.torch_power_flow": "torch",
    "dss_marl.experiments.reports.html": "plotly",
    "dss_marl.integrations.sb3": "stable_baselines3",
    "dss_marl.plots": "matplotlib",
}


PACKAGES = sorted(".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "dss_marl").rglob("__init__.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_exists_and_every_name_of_its_own_is_listed(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    package = importlib.import_module(name)
    listed = getattr(package, "__all__", [])
    assert len(set(listed)) == len(listed)
    assert [one for one in listed if not hasattr(package, one)] == []
    there = {
        key
        for key, value in vars(package).items()
        if not key.startswith("_") and getattr(value, "__module__", "").startswith(name)
    }
    assert there <= set(listed)
    for key in listed:
        value = getattr(package, key)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), key


def test_the_page_of_public_names_is_up_to_date():
    for needed in NEEDS.values():
        pytest.importorskip(needed)
    assert make_api.PAGE.read_text(encoding="utf-8") == make_api.page(), "run 'python docs/make_api.py'"


WRITTEN = [ROOT / "docs" / folder for folder in ("", "guide", "tutorial")]  # by hand; the others when the site is built
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for folder in WRITTEN for p in folder.glob("*.md")),
]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
IMPORT = re.compile(r"^ *from (dss_marl[\w.]*) import (\((?:[^)]*)\)|[^\n#(]+)", re.MULTILINE)
DOTTED = re.compile(r"(?<![\w./])dss_marl((?:\.[A-Za-z_]\w*)+)(?![\w/])")


def private(text):
    """What a text takes from the package that the page of public names does not list."""
    found = {
        f"{module}.{name}" for module, names in IMPORT.findall(text) for name in re.findall(r"(\w+)(?: as \w+)?", names)
    }
    found |= {f"dss_marl{rest}" for rest in DOTTED.findall(IMPORT.sub("", text))}
    return sorted(path for path in found if not is_public(path.split(".")))


def is_public(parts):
    """Whether the page lists the name or its module; what follows a listed name is that object's own."""
    for k in range(len(parts), 0, -1):
        package = ".".join(parts[:k])
        if package in make_api.PACKAGES:
            return k == len(parts) or parts[k] in importlib.import_module(package).__all__
    return False


@pytest.mark.parametrize("path", [*DOCUMENTS, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_documents_and_examples_use_is_public(path):
    for needed in NEEDS.values():
        pytest.importorskip(needed)
    assert private(path.read_text(encoding="utf-8")) == []


def test_what_is_not_public_is_noticed():
    assert private("from dss_marl.grid.feeder import find\nimport dss_marl\n") == ["dss_marl.grid.feeder.find"]
    assert private("`dss_marl.makes(...)` and dss_marl.make(x).reset") == ["dss_marl.makes"]
    assert private("from dss_marl.devices import (\n    DeviceGroup,\n    find,\n)") == []
