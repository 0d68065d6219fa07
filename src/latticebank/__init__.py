"""Latticebank: a quantum-safe internet bank."""

__version__ = "0.1.0"
