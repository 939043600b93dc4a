"""Interfaces to other libraries; no lower package imports this one."""
