"""vaezoo against its peers on this machine: one run, one table, ratios.

The report that it writes describes what is compared and how; the programs are the scripts in `benchmarking/`. The peers
are an extra: `pip install 'vaezoo[benchmark]'`. A peer that is not installed is named in the table and left out.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarking.networks import NETWORKS
from benchmarking.peers import PROGRAMS
from benchmarking.rounds import measure

from vaezoo.errors import VaezooError, unknown


def main(argv=None):
    """Run the benchmark; returns 0, or 2 for bad input, or 130 after Ctrl-C."""
    try:
        options = parse(argv)
        with tempfile.TemporaryDirectory() as scratch:
            measure(options, Path(scratch))
    except VaezooError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmark: interrupted; the report of the finished rounds is kept", file=sys.stderr)
        return 130
    return 0


class Parser(argparse.ArgumentParser):
    """A parser that reports an error on one line."""

    def error(self, message):
        """Raise it."""
        raise VaezooError(f"{message}; see --help")


def parse(argv=None):
    """The options, checked."""
    only = [*PROGRAMS, "decoding"]
    parser = Parser(prog="benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", default=NETWORKS, metavar="NAME", help=f"of: {', '.join(NETWORKS)}")
    parser.add_argument("--only", nargs="+", default=only, metavar="NAME", help=f"of: {', '.join(only)}")
    parser.add_argument("--batch", type=int, default=128, help="images a step (128)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is repeated (5)")
    parser.add_argument("--epochs", type=int, default=4, help="of each run; the first only warms up (4)")
    parser.add_argument("--images", type=int, default=20_000, help="an epoch (20000)")
    parser.add_argument("--data", help="a data set's name or path; by default mnist if it is on disk, else glyphs")
    parser.add_argument("--scaling", action="store_true", help="also batches of 32 to 1024, and widths ×1 to ×8")
    parser.add_argument("--quick", action="store_true", help="one round of two short epochs, as a check")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="the folder to write (runs/benchmark)")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.epochs, options.images = 1, 2, 10 * options.batch
    for kind, names, allowed in (("network", options.network, NETWORKS), ("program", options.only, only)):
        for name in names:
            if name not in allowed:
                raise unknown(kind, name, allowed)
    for name, smallest in (("batch", 1), ("rounds", 1), ("epochs", 2), ("images", 2 * options.batch)):
        if getattr(options, name) < smallest:
            raise VaezooError(f"--{name} is {getattr(options, name)}; it must be at least {smallest}")
    if (options.out / "measurements.json").exists():
        raise VaezooError(f"'{options.out}' already holds a benchmark, which is never overwritten; give another --out")
    options.data = options.data or default_data()
    return options


def default_data():
    """MNIST if it is on disk, so that nothing is downloaded; else the built-in digits."""
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    return "mnist" if (folder / "mnist").is_dir() else "glyphs"


if __name__ == "__main__":
    sys.exit(main())
