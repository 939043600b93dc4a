"""SolverCalls: what every solve calls, straight into OpenDSS's library."""

from __future__ import annotations

from typing import Any

import numpy as np

FULL_REBUILD, REUSE_FACTORS = 0, 3  # of the admittance matrix, see OpenDSSEngine


class SolverCalls:
    """The calls of a power flow without controls, on a compiled circuit.

    The methods of opendssdirect look up, convert and check at every call, which on a small feeder takes longer than
    the power flow; here pointers and views are kept, and errors of all calls are looked for once, after the solve.

    Args:
        context: with the circuit.
        count: number of the circuit's nodes Y.
    """

    def __init__(self, context: Any, count: int) -> None:
        lib, ffi = context.dss_lib, context.dss_ffi
        self._lib, self._ffi = lib, ffi
        self._init_snap, self._solve_no_control = lib.Solution_InitSnap, lib.Solution_SolveNoControl
        self._converged, self._total_power = lib.Solution_Get_Converged, lib.Circuit_Get_TotalPower
        self._find_voltages = lib.YMatrix_getVpointer
        self._error = lib.Error_Get_NumberPtr()
        self._raise_error = context.Solution.Converged  # a checked call: raises the error that is pending
        self._pointer, self._address = ffi.new("double**"), None
        self._total, self._dims = ffi.new("double**"), ffi.new("int32_t[4]")
        self._bytes = 16 * (count + 1)
        self._options: int | None = None

    def set_options(self, options: int) -> None:
        """How much of the matrix's factorisation is reused after a change: FULL_REBUILD or REUSE_FACTORS."""
        if options != self._options:
            self._lib.YMatrix_Set_SolverOptions(options)
            self._options = options

    def solve(self) -> bool:
        """Read the load shapes and solve; whether it converged.

        Raises:
            DSSException: an error in this or an unchecked call before.
        """
        self._init_snap()
        self._solve_no_control()
        if self._error[0]:
            self._raise_error()
        return bool(self._converged())

    def voltages(self) -> Any:
        """(1 + Y) complex, ground first [V]; a view that the next rebuild of the matrix may invalidate."""
        self._find_voltages(self._pointer)
        address = self._pointer[0]
        if address != self._address:
            self._address, self._view = address, np.frombuffer(self._ffi.buffer(address, self._bytes), complex)
        return self._view

    def source_power(self) -> tuple[float, float]:
        """Power drawn from all sources [kW, kvar]."""
        self._total_power(self._total, self._dims)
        total = self._total[0]
        return -total[0], -total[1]
