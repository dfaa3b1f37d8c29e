"""The rounds: every program once in each, one after the other; after each round the report of those so far."""

import csv
import io
import json
import os
import platform
import statistics
import sys
from importlib import metadata

from benchmarking import picture
from benchmarking.networks import layers, load_network, training_flops
from benchmarking.peers import HALF_PRECISION, PRODUCTS, PROGRAMS, RUNTIMES, decode, prepare, product, train
from benchmarking.report import by_round, markdown
from vaezoo.atomic import plain_errors, write_file, write_text

BATCHES, WIDTHS = (32, 64, 128, 256, 512, 1024), (1, 2, 4, 8)
PACKAGES = ("vaezoo", "tensorflow", "keras", "torch", "pythae", "jax", "ai-edge-litert", "numpy")


def measure(options, scratch):
    """Measure what the options ask for, and write the report.

    Args:
        options: what `benchmark.parse` gives.
        scratch: a folder for what the programs read.
    """
    with plain_errors(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    data = Images(options.data, scratch)
    data.of(options.images)  # a set that is too small is refused before anything runs
    exports = _exports(options, data, scratch) if "decoding" in options.only else {}
    names = [name for name in PROGRAMS if name in options.only]
    cases = [(network, 1, options.batch, name) for network in options.network for name in names]
    machine, measurements = describe_machine(options), []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        measure_round(number, cases, exports, options, data, measurements)
        _write(options, machine, measurements, data.image_shape)
    if options.scaling:
        cases = scaling_cases(options, names, measurements)
        for number in range(options.rounds):
            say(f"scaling, round {number + 1} of {options.rounds}")
            measure_round(options.rounds + number, cases, {}, options, data, measurements)
            _write(options, machine, measurements, data.image_shape)
    print((options.out / "benchmark.md").read_text(encoding="utf-8"))
    say(f"the table, the measurements and the picture are in {options.out}")


def say(line):
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


class Images:
    """The first images of a data set, in black and white, as files for the programs.

    Args:
        name: as `vaezoo.data.load_data` takes it.
        scratch: the folder for them.
    """

    def __init__(self, name, scratch):
        self.name, self.scratch, self.image_shape = name, scratch, None

    def of(self, count):
        """The file of that many."""
        path = self.scratch / f"images-{count}.npz"
        if not path.exists():
            self.image_shape = tuple(prepare("images", self.name, str(count), str(path))["image_shape"])
        return str(path)


def _exports(options, data, scratch):
    """{network: folder} of an export of each."""
    folders = {}
    for network in options.network:
        say(f"exporting {network} for the latency of its decoder")
        prepare("export", network, data.of(options.images), str(scratch / network))
        folders[network] = str(scratch / network / "export")
    return folders


def measure_round(number, cases, exports, options, data, measurements):
    """The matrix product of every library, every case of training and every decoder, once."""

    def add(measured, **case):
        measurements.append({"round": number, **case, **measured})
        said = ", ".join(f"{name} {value:,.5g}" if name != "failed" else value for name, value in measured.items())
        say(f"  {' '.join(map(str, case.values()))}: {said}")

    for library in PRODUCTS:
        add(product(library), library=library)
    for network, width, batch, name in cases:
        model = load_network(network, width)
        images = images_of_an_epoch(network, model, batch, options.images, data.image_shape)
        case = {"network": network, "width": width, "batch": batch}
        reads = {"model": model.model_dump(), "data": data.of(images), "epochs": options.epochs}
        add(train(PROGRAMS[name], {**case, **reads}), **case, program=name)
    for network, folder in exports.items():
        for runtime in RUNTIMES:
            add(decode(runtime, folder), network=network, runtime=runtime)


def images_of_an_epoch(network, model, batch, images, image_shape):
    """The number of images whose cost is that of an epoch at the width of the recipe, but at least two batches."""
    cost = [training_flops(layers(each, image_shape)) for each in (load_network(network), model)]
    return max(2 * batch, images * cost[0] // cost[1])


def scaling_cases(options, names, measurements):
    """vaezoo and the two fastest peers of each network, in float32, at every batch and width not measured yet."""
    cases = []
    for network in options.network:
        rates = {}
        for name in names:
            if found := by_round(measurements, "images_per_second", network=network, program=name):
                rates[name] = statistics.median(found.values())
        peers = sorted(rates.keys() - {"vaezoo", *HALF_PRECISION}, key=rates.get, reverse=True)[:2]
        sizes = [(1, batch) for batch in BATCHES] + [(width, options.batch) for width in WIDTHS]
        chosen = [name for name in names if name in ("vaezoo", *peers)]
        cases += [
            (network, width, batch, name)
            for width, batch in dict.fromkeys(sizes)
            if (width, batch) != (1, options.batch)
            for name in chosen
        ]
    return cases


def describe_machine(options):
    """What the measurements depend on, by name."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        say(f"warning: the machine is busy already (load average {load:.1f}); the measurements are not comparable")
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores; load average {load:.1f} at the start",
        "software": f"{platform.system()}, Python {platform.python_version()}, {', '.join(versions)}",
        "run": f"rounds of {options.epochs} epochs of {options.images:,} images of {options.data}",
    }


def processor():
    """The processor's model and family, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            facts = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    except (OSError, ValueError):
        return platform.processor() or platform.machine()
    name, family, model = (
        next((value.strip() for key, value in facts.items() if key.strip() == wanted), "?")
        for wanted in ("model name", "cpu family", "model")
    )
    return f"{name} (family {family}, model {model})"


def _write(options, machine, measurements, image_shape):
    """The measurements as JSON and CSV, the report and the picture."""
    finished = len({row["round"] for row in measurements})
    machine = {**machine, "run": f"{finished} {machine['run']}"}
    write_text(
        options.out / "measurements.json", json.dumps({**machine, "measurements": measurements}, indent=1) + "\n"
    )
    table = io.StringIO()
    fields = dict.fromkeys(field for row in measurements for field in row)
    writer = csv.DictWriter(table, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(measurements)
    write_text(options.out / "measurements.csv", table.getvalue())
    write_text(options.out / "benchmark.md", markdown(measurements, machine, image_shape))
    figure = picture.draw(measurements, image_shape, options.batch)
    if figure is not None:
        write_file(options.out / "benchmark.png", figure.savefig)
