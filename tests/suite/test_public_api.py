"""The public names: complete, there, and on the page that lists them."""

import importlib
import inspect

import make_api
import pytest
from common import ROOT

NEEDS = {"dss_marl.plots": "matplotlib", "dss_marl.integrations.sb3": "stable_baselines3"}


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
