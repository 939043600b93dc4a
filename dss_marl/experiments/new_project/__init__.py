"""A project of the user's own: circuit, scenario, functions, test and training script, written to be changed."""

from dss_marl.experiments.new_project.project import Project, new_project

__all__ = ["Project", "new_project"]
