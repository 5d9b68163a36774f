"""Kernels: functions of arrays, fast on the CPU as well. No modules, no state."""
