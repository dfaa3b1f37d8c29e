"""The command line, one module for each group of commands. Only commands that need TensorFlow import it."""

from vaezoo.cli.main import main

__all__ = ["main"]
