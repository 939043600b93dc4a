"""SB3's formats of logs, which go on where a run that was stopped had come."""

from __future__ import annotations

from pathlib import Path

from stable_baselines3.common.logger import CSVOutputFormat, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter


class ContinuedTable(CSVOutputFormat):
    """SB3's table of figures, after the rows that are there."""

    def __init__(self, path: Path) -> None:
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        super().__init__(str(path))
        self.file.write(before)
        self.keys = before.splitlines()[0].split(",") if before else []


class ContinuedEvents(TensorBoardOutputFormat):
    """SB3's events of TensorBoard; those after ``resumed_at`` of an earlier writer are no longer shown."""

    def __init__(self, folder: str, resumed_at: int | None) -> None:
        purged = None if resumed_at is None else resumed_at + 1
        self.writer = SummaryWriter(log_dir=folder, purge_step=purged)
        self._is_closed = False
