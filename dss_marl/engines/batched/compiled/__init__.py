"""The power flow of many copies in machine code, by numba: vectors of sixteen copies; ``compiled_solver`` first."""
