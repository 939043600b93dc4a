"""Reports: scenario card and suite table."""
