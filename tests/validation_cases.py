"""Days that nobody ran, checks found by name, and a task that is proven in seconds."""

from common import task_of

from dss_marl.envs.scenario_files import load_scenario
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.episodes import EpisodeCache, EpisodeResult

DAYS = tuple(range(10))


SCOPE = ValidationBudget(DAYS, DAYS[:4], slow=True, stress=(6, 12), tries=4, quick=False)


def results_of(returns, terms=None):
    """Results that nobody computed: controller to returns, day by day."""
    episodes = EpisodeCache.__new__(EpisodeCache)
    episodes.task = task_of("ieee13_volt_var")
    episodes.results = {
        name: {
            day: EpisodeResult(
                dict.fromkeys(FIGURES, 0.0) | {"team_return": earned}, (terms or {}).get(name, {}), 0.9, 1.1, 1e-6
            )
            for day, earned in enumerate(row)
        }
        for name, row in returns.items()
    }
    return episodes


def named(rows, text):
    (row,) = [row for row in rows if text in row.what]
    return row


def noon(**changes):
    """Four noon hours of the 13-bus task, which greedy plays best."""
    base = {"steps": 4, "start_hour": 11, "dt_h": 1.0, "reference_controller": "greedy", "tuned_droop": {}}
    return load_scenario("ieee13_volt_var").replace(**{**base, **changes})
