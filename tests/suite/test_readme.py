"""The Python blocks of the documents run, one after the other in one namespace per document.

Two things differ from what a reader does: the number of training steps in ``learn(...)`` is reduced, and the working
folder holds a small circuit under the name ``path/to/Master.dss``. Blocks are run as a module called ``my_module``, so
that ``my_module:name`` finds functions that a block defines. A block after ``<!-- not run: reason -->`` is skipped, and
one after ``<!-- needs: pandas, xarray -->`` where one of these is not installed.
"""

import importlib.util
import re
import sys
import types

import pytest
from common import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
]
BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\n+)?(<!-- needs: (?P<needs>[\w, ]+) -->\n+)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LEARNED = 64  # steps in place of those of the document
MASTER = """
Clear
New Circuit.small bus1=head basekv=12.47 pu=1.03
New Line.main bus1=head bus2=b12 phases=3 r1=0.3 x1=0.4 length=4 units=km
New Line.spur bus1=b12  bus2=b40 phases=3 r1=0.5 x1=0.4 length=6 units=km
New Load.shop  bus1=b12 phases=3 kv=12.47 kw=800  kvar=300
New Load.homes bus1=b40 phases=3 kv=12.47 kw=1500 kvar=500
Set VoltageBases=[12.47]
CalcVoltageBases
"""


def blocks(path):
    """(line, code) of each block that runs."""
    text = path.read_text(encoding="utf-8")
    return [
        (text[: block.start("code")].count("\n") + 1, block["code"])
        for block in BLOCK.finditer(text)
        if not block["skip"] and all(map(importlib.util.find_spec, re.findall(r"\w+", block["needs"] or "")))
    ]


@pytest.fixture
def one_thread():
    """Small networks are slower on several threads."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_readme_has_python_blocks():
    assert len(blocks(ROOT / "README.md")) >= 4


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path)], ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python_blocks_run(path, tmp_path, monkeypatch, request):
    if "sb3" in path.read_text(encoding="utf-8"):
        pytest.importorskip("sb3_contrib")
        request.getfixturevalue("one_thread")
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "Master.dss").write_text(MASTER)
    module = types.ModuleType("my_module")
    monkeypatch.setitem(sys.modules, "my_module", module)
    for line, code in blocks(path):
        monkeypatch.chdir(tmp_path)  # for each block: OpenDSS may move the process to the folder where it was loaded
        code = re.sub(r"\.learn\([\d_]+\)", f".learn({LEARNED})", code)
        exec(compile("\n" * (line - 1) + code, str(path), "exec"), module.__dict__)
