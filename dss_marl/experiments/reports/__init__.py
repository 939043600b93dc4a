"""Reports: the card of a scenario and the table of the suite."""
