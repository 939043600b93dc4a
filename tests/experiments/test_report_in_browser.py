"""The report in a real browser: no errors, the slider moves the map, tables sort, names stay text."""

import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("plotly")

from report_cases import HOSTILE, hostile, opened, tiny, trained

from dss_marl.experiments.reports.html import write_report

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SHOWN = """() => {
    const traces = document.getElementById('map').data.slice(-3);
    const coloured = traces[2];
    return {buses: traces.map((trace) => trace.x.length), values: Array.from(coloured.marker.color),
            most: coloured.marker.cmax, text: document.getElementById('map-text').textContent,
            time: document.getElementById('slot-name').textContent};
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a run on a feeder whose voltages leave the band without control, for six hours."""
    folder = tmp_path_factory.mktemp("report")
    run = trained(tiny("ieee34_volt_var").replace(steps=12, start_hour=10.0, dt_h=0.5), folder / "run")
    return write_report(run, folder / "report.html", 3, ["no_control", "opendss_controls"], stress=True)


def slide(page, place):
    page.locator("#slot").evaluate(
        "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('input')); }", str(place)
    )
    return page.evaluate(SHOWN)


def test_it_opens_without_errors_and_draws_every_figure(report):
    with opened(report) as page:
        places = page.locator(".plot[data-figure]").count()
        assert places >= 6 and page.locator(".plot .main-svg").count() >= places
        assert page.locator("#map .scatterlayer .point").count() > 50


@pytest.mark.parametrize("width", [1200, 800])
def test_it_fits_the_window(report, width):
    with opened(report, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_slider_and_the_controllers_move_the_map(report):
    with opened(report) as page:
        page.locator('input[name="controller"][value="1"]').check()
        whole = page.evaluate(SHOWN)
        assert whole["time"] == "whole day" and whole["buses"][2] > 5 and max(whole["values"]) <= whole["most"]
        hours = [slide(page, place) for place in range(1, 7)]
        assert [shown["time"] for shown in hours] == [f"{10 + k}:00 to {11 + k}:00" for k in range(6)]
        assert len({str(shown["values"]) for shown in hours}) > 1
        assert all(value <= 1 for shown in hours for value in shown["values"])  # hours of an hour
        total = sum(sum(shown["values"]) for shown in hours)
        assert total == pytest.approx(sum(whole["values"]), rel=1e-3)
        assert whole["text"] != hours[0]["text"] and "10:00 to 11:00" in hours[0]["text"]
        busiest = max(range(6), key=lambda k: len(hours[k]["values"]))
        assert slide(page, busiest + 1) == hours[busiest]
        slide(page, 0)
        page.locator('input[name="controller"][value="2"]').check()
        assert page.evaluate(SHOWN)["values"] != whole["values"]


def test_play_moves_the_slider(report):
    with opened(report) as page:
        page.locator("#play").click()
        from playwright.sync_api import expect

        expect(page.locator("#slot-name")).not_to_have_text("whole day", timeout=10_000)
        assert page.locator("#play").text_content() == "Pause"
        page.locator("#play").click()
        assert page.locator("#play").text_content() == "Play"


def test_a_click_on_a_heading_sorts(report):
    column = "rows => rows.map((row) => Number(row.cells[1].dataset.value))"
    with opened(report) as page:
        heading = page.locator("#comparison-table thead th").nth(1)
        rows = "#comparison-table tbody tr"
        before = page.eval_on_selector_all(rows, column)
        heading.locator("button").click()
        rising = page.eval_on_selector_all(rows, column)
        assert rising == sorted(before) and len(rising) >= 3 and heading.get_attribute("aria-sort") == "ascending"
        heading.locator("button").click()
        assert page.eval_on_selector_all(rows, column) == sorted(before, reverse=True)
        page.locator("#comparison-table thead th button").first.click()
        names = page.eval_on_selector_all(rows, "rows => rows.map((row) => row.cells[0].textContent.toLowerCase())")
        assert names == sorted(names)


def test_names_stay_text(tmp_path):
    run = trained(hostile(), tmp_path / "<i>run")
    with opened(write_report(run, tmp_path / "r.html", 1, ["no_control"], stress=False)) as page:
        assert page.locator(".title").text_content() == HOSTILE
        assert page.locator("main img, main svg img").count() == 0
        ticks = page.locator("#days [class$=tick] text").all_text_contents()
        assert any(tick.startswith("pv<b>x</b>&lt;") for tick in ticks)
