"""Kernels: functions of arrays that are fast on the CPU as well. No modules, no state."""
