"""The parts of `tools/benchmark.py`: the programs, one script and one process each, and the report."""
