"""OpenDSS power flow of many copies of one circuit, each in a context of its own, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dss_marl.engines.engine_loop import EngineLoop
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.grid.feeder import Feeder


class OpenDSSBatch(EngineLoop):
    """Copies of a circuit, each in a context of the pool that is opened at its first solve; see BatchEngine.

    Args:
        feeder: the circuit.
        copies: number of copies B.
        threads: 1. OpenDSS stays in the first thread of a process that uses it: a second one was seen to end the
            process. Spread copies over processes instead, with ``num_cpus``.
        options: of OpenDSSEngine.

    Raises:
        ValueError: no copies, or several threads.
    """

    def __init__(self, feeder: Feeder, copies: int, threads: int = 1, **options: Any) -> None:
        if copies < 1:
            raise ValueError(f"copies must be at least 1; got {copies}")
        if threads != 1:
            raise ValueError(
                f"threads must be 1, as OpenDSS works in one thread of a process only; got {threads}. Spread the "
                "copies over processes: num_cpus"
            )
        super().__init__([OpenDSSEngine(feeder, **options) for _ in range(copies)])

    @classmethod
    def of(cls, engines: Sequence[OpenDSSEngine]) -> OpenDSSBatch:
        """A batch of these engines, one for each copy."""
        batch = cls.__new__(cls)
        EngineLoop.__init__(batch, engines)
        return batch
