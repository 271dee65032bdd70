"""Dynamics-aligned shared hypernetworks (DMA*-SH) and the Actuator Inversion Benchmark, reproduced."""

__version__ = "0.1.0"
