"""``dss-marl profiles`` on a table of one's own."""

import pytest
from profile_tables import rows, written
from test_cli import output

from dss_marl._assets import data_folder
from dss_marl.engines import read_feeder


@pytest.mark.filterwarnings("ignore:profiles of kind")
def test_the_range_of_ones_own_days_and_their_clock_are_printed(tmp_path):
    feeder = read_feeder("ieee13")
    names = [feeder.injections[j].name.split(".")[1] for j in feeder.loads]
    written(tmp_path, rows(days=3, start="2025-06-20 00:00", **{name: (lambda d, h: 100.0) for name in names}))
    shipped = (data_folder("scenarios") / "ieee13_volt_var.yaml").read_text().splitlines()
    lines = [line for line in shipped if not line.startswith("profiles:")]
    own = "profiles: {kind: csv, path: data.csv, holidays: [2025-06-20]}"
    (tmp_path / "own.yaml").write_text("\n".join([*lines, own]))
    code, text = output("profiles", str(tmp_path / "own.yaml"))
    assert code == 0
    assert "3 days, Friday 2025-06-20 to Sunday 2025-06-22; holidays 2025-06-20; local time as written" in text
