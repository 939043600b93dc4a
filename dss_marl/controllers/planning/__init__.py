"""Day planning with perfect foresight."""
