"""What the tests of reports share: short runs, the page's data, and a browser."""

import base64
import json
import os
import re
import shutil
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import pytest

import dss_marl
from dss_marl.experiments import train

TINY = {"agent_steps": 12, "n_envs": 1, "n_steps": 4, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}
HOSTILE = "<img src=x onerror=alert(1)>"  # in a title; in names as OpenDSS allows them: pv<b>x</b>&lt;
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def tiny(name="ieee13_volt_var", training=(), **changes):
    """A scenario of four steps around noon, trained for three updates."""
    scenario = dss_marl.load_scenario(name)
    hours = {"steps": 4} if "restoration" in name else {"steps": 4, "start_hour": 10.0}
    return scenario.replace(**hours, training={**TINY, **dict(training)}, **changes)


def hostile():
    """A scenario whose title, and one of whose devices, is markup."""
    devices = [dict(device) for device in dss_marl.load_scenario("ieee13_volt_var").devices]
    devices[0]["name"] = "pv<b>x</b>&lt;"
    return tiny(devices=devices, title=HOSTILE)


def trained(scenario, folder, seed=0):
    """The folder of a short run."""
    train(scenario, folder, seed)
    return folder


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.scripts, self.text, self._script = [], {}, [], None

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self._script = dict(attributes).get("id", f"code {len(self.scripts)}")
            self.scripts[self._script] = ""

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts[self._script] += data
        else:
            self.text.append(data)


def read_page(path):
    """A page's tags with their attributes, its scripts by id, and its text."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def figure(page, name):
    """A figure of the page, its arrays decoded."""
    return _decoded(json.loads(page.scripts[f"figure-{name}"]))


def _decoded(value):
    if isinstance(value, dict) and {"dtype", "bdata"} <= set(value):
        flat = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        shape = [int(size) for size in re.findall(r"\d+", str(value.get("shape", "")))]
        return flat.reshape(shape or -1)
    if isinstance(value, dict):
        return {key: _decoded(own) for key, own in value.items()}
    return [_decoded(own) for own in value] if isinstance(value, list) else value


@contextmanager
def opened(path, width=1200):
    """The page in a headless browser, drawn; fails on any error of its console, request or dialog."""
    sync = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        assert not os.environ.get("DSS_MARL_NEEDS_BROWSER"), f"no browser: install one of {', '.join(BROWSERS)}"
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    trouble = []
    with sync.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: trouble.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready=true]", timeout=60_000)
        yield page
        browser.close()
    assert trouble == []
