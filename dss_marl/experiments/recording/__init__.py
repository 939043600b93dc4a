"""Recordings: everything that days as operated hold, as named tables with units and time."""

from dss_marl.experiments.recording.record import days_of, find_controller, record
from dss_marl.experiments.recording.recording import Recording
from dss_marl.experiments.recording.table import Column, Table

__all__ = ["Column", "Recording", "Table", "days_of", "find_controller", "record"]
