"""MLflow as a format of SB3's logger."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
from stable_baselines3.common.logger import KVWriter


class MlflowFormat(KVWriter):
    """Sends numbers to MLflow.

    Args:
        prefix: before the names of the figures.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Send the figures of a step that are numbers."""
        numbers = {
            f"{self._prefix}{key}": float(value)
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number) and "mlflow" not in (key_excluded.get(key) or ())
        }
        mlflow.log_metrics(numbers, step=step)

    def close(self) -> None:
        """Nothing is open."""
