"""Recipes: training settings that suit a family of scenarios, as data; they ship beside this package's code."""

from dss_marl.experiments.recipes.recipe import Recipe, list_recipes, load_recipe

__all__ = ["Recipe", "list_recipes", "load_recipe"]
