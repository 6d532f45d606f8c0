"""Benchmarks: the conversion against `doveadm backup` and a floor in C, and a restore."""
