"""Thrifty measures what makes a neural network cheaper."""

__version__ = "0.1.0"
