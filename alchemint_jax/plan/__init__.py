"""Compiling the real step of a config for hardware that is not there, and reading the result."""
