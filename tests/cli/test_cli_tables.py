"""Tables at every width of the terminal: no word is broken."""

import pytest
from rich.text import Text
from typer.testing import CliRunner

from dss_marl.cli import result_table
from dss_marl.cli.app import app
from dss_marl.cli.console import PlainConsole, say
from dss_marl.cli.tables import print_table
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.metrics import FIGURES

runner = CliRunner()
WIDTHS = ("80", "100", "120")


def printed(monkeypatch, width, *arguments, typed=()):
    """What a command prints, and the words of the tables that it was asked to print."""
    asked = []

    def keep(title, heads, rows, **options):
        cells = [*heads, *(cell for row in rows for cell in row)]
        asked.extend(word for cell in cells for word in (cell.plain if isinstance(cell, Text) else cell).split())
        print_table(title, heads, rows, **options)

    for module in ("list", "zones", "profiles", "show"):
        monkeypatch.setattr(f"dss_marl.cli.{module}.print_table", keep)
    result = runner.invoke(app, list(arguments), env={"COLUMNS": width, "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output, asked


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "typed",
    ["list", "zones ieee34 --compare", "zones ieee123", "profiles ieee13_volt_var --days 1", "show ieee13_microgrid"],
)
def test_no_word_of_a_table_is_broken(monkeypatch, width, typed):
    text, asked = printed(monkeypatch, width, *typed.split())
    words = set(text.split())
    assert asked and not [word for word in asked if word not in words]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_the_results_is_broken(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    rows = {name: [dict.fromkeys(FIGURES, 1234.5)] * 2 for name in ("no_control", "opendss_controls", "best_known")}
    table = ComparisonTable("case", "test", (1, 2), rows, "best_known")
    result_table.print_result_table(table, "best_known")
    words = capsys.readouterr().out.split()
    heads = [word for head in table.rows("best_known")[0] for word in head.split()]
    assert not [word for word in [*heads, *rows] if word not in words]


def test_controllers_left_out_for_one_reason_share_a_line(capsys):
    rows = {"no_control": [dict.fromkeys(FIGURES, 1.0)]}
    left_out = {"greedy": "takes seconds", "wls": "needs estimators", "linear": "takes seconds"}
    table = ComparisonTable("case", "test", (1,), rows, "best_known", left_out=left_out)
    result_table.print_result_table(table, None)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert lines == ["left out: greedy, linear: takes seconds", "left out: wls: needs estimators"]


def test_room_goes_to_whichever_column_needs_most_lines(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    print_table("", ("a", "b", "c"), [("one", "word " * 12, "longer " * 20)], left=("b", "c"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "word" in line or "longer" in line]
    assert len(lines) <= 4 and max(map(len, lines)) <= 60


def test_sentences_break_between_words_in_a_terminal_and_nowhere_in_a_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/a/long/path/" + "x" * 50 + "/file.png"
    sentence = f"a sentence of more than forty letters names {path} and goes on"
    for terminal in (True, False):
        console = PlainConsole()
        console._force_terminal = terminal
        monkeypatch.setattr("dss_marl.cli.console.console", console)
        with console.capture() as said:
            say(sentence)
        lines = said.get().splitlines()
        assert len(lines) == (4 if terminal else 1) and [*" ".join(lines).split()] == sentence.split()


def test_columns_that_do_not_fit_continue_below(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    heads = ("name", *(f"a_long_heading_{k}" for k in range(4)))
    print_table("title", heads, [("first", "1", "2", "3", "4"), ("second", "5", "6", "7", "8")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 50
    assert [line.split() for line in lines if "heading" in line] == [["name", *heads[1:3]], ["name", *heads[3:]]]
    assert [line.split() for line in lines if "second" in line] == [["second", "5", "6"], ["second", "7", "8"]]


def test_cells_are_no_markup(capsys):
    print_table("[/title]", ("[red]head[/red]", "value"), [("b[/x]", ":smile:")])
    out = capsys.readouterr().out
    assert all(word in out for word in ("[/title]", "[red]head[/red]", "b[/x]", ":smile:"))
