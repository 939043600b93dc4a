"""TorchPowerFlow: the power flow of a feeder as a differentiable function of PyTorch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dss_marl.engines.batched.energised import BatchSupply
from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.store import network_of
from dss_marl.engines.batched.torch_backend.torch_solver import TorchFlow, TorchSolver
from dss_marl.grid.feeder import Feeder

__all__ = ["TorchFlow", "TorchPowerFlow"]


class TorchPowerFlow:
    """The power flow of a feeder as a differentiable function of tensors.

    Args:
        feeder: the circuit.
        tolerance: largest change of a phase's voltage in the last iteration [pu].
        iterations: at most.
        single: iterate in float32; gradients are then good to about 1e-4.
        device: of torch; None: a GPU if there is one.

    Attributes:
        network: of the feeder.

    Raises:
        ValueError: an element has no model in the batched engine; names it.
    """

    def __init__(
        self, feeder: Feeder, tolerance: float = 1e-9, iterations: int = 200, single: bool = False,
        device: str | None = None,
    ) -> None:  # fmt: skip
        self.network, self._supply = network_of(feeder), BatchSupply(feeder)
        self.solver = TorchSolver(factorised(self.network), single, device)
        self._tolerance, self._iterations = tolerance, iterations

    def __call__(self, kw: Tensor, kvar: Tensor, tap: Any, closed: Any) -> TorchFlow:
        """The power flows of B copies.

        Args:
            kw, kvar: (B, J) float64, + into the grid; gradients flow into them.
            tap, closed: arrays (B, R) integer and (B, S) bool, as of Setpoints.

        Returns:
            see TorchFlow; v_pu is (B, N) in the Feeder's order, whatever is energised. Where ``residual`` is not below
            the tolerance, there is no solution.
        """
        supplied = self._supply.of(np.asarray(closed))
        states = torch.as_tensor(self.network.states(np.asarray(tap), np.asarray(closed)), device=self.solver.device)
        if supplied.dead is not None:
            alive = torch.as_tensor(~supplied.dead, device=self.solver.device)
            kw, kvar = kw * alive, kvar * alive
        return self.solver.flow(kw, kvar, states, self._tolerance, self._iterations)
