"""Rule-based controllers: droop, time of use, valley filling, load rationing, nearest tie."""
