"""The parts of `tools/benchmark.py`: the contenders, each a script with a process of its own, and the report."""
