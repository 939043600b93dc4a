"""``dss-marl recipes``: training settings that ship with the package."""

from __future__ import annotations

from dss_marl.cli.tables import print_table


def recipes() -> None:
    """List the shipped recipes: training settings that suit a family of scenarios, for --recipe and benchmarks."""
    from dss_marl.experiments.recipes import list_recipes, load_recipe

    found = [load_recipe(name) for name in list_recipes()]
    rows = [(one.name, "\n".join(one.scenarios), one.description, one.found) for one in found]
    heads = ("recipe", "for", "what it does", "how its values were found")
    print_table("training settings: dss-marl train NAME --recipe RECIPE", heads, rows, heads, sections=True)
