"""The command line, a module for each group of commands. Only commands that need TensorFlow import it."""

from vaezoo.cli.main import main

__all__ = ["main"]
