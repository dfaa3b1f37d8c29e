"""From the measurements of all rounds to rows with medians and spreads, and those as Markdown."""

import statistics
from typing import NamedTuple

from benchmarking.networks import layers, load_network, parameters, training_flops
from benchmarking.peers import PROGRAMS, RUNTIMES

READING = """\
Every number is the median of the rounds (smallest–largest). Every program trained the same network on the same black
and white images with Adam at the same constant learning rate, in a process of its own. Each round runs every program
once, and the first epoch of each run is a warm-up.

- *times*: the rate of vaezoo in float32 divided by the rate of the row, within each round.
- *of the product*: the operations of the layers, as a share of the rate of the matrix product. A multiplication and an
  addition count as two; a training step is three forward passes less the gradient of the image, which is not needed.
- *first step*: from the command to the end of the first step: imports, data and compilation. For vaezoo it is the first
  call of several steps; for JAX, the end of compilation.
- *peak memory*: of the complete process; that of vaezoo also tests the model and draws its pictures.
- *loss*: the mean of the last epoch, in nats an image.
"""


class Spread(NamedTuple):
    """The median of some rounds, with the smallest and the largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form, unit=1.0):
        """As "5 (4–6)", in that unit."""
        median, low, high = (format(value / unit, form) for value in self)
        return f"{median} ({low}–{high})"


def by_round(measurements, field, **case):
    """{round: value} of one field in the measurements of a case, without those that failed."""
    matching = (row for row in measurements if all(row.get(name) == value for name, value in case.items()))
    return {row["round"]: row[field] for row in matching if field in row}


def matrix_product(measurements):
    """(library, {round: operations a second}) of the library that is fastest in the median: the machine's rate."""
    libraries = dict.fromkeys(row["library"] for row in measurements if "flops_per_second" in row)
    rates = {name: by_round(measurements, "flops_per_second", library=name) for name in libraries}
    return max(rates.items(), key=lambda rate: statistics.median(rate[1].values()))


def training_rows(measurements, image_shape):
    """A row for each network, width, batch and program, in the order in which they first ran.

    Ratios and shares are computed within a round, whose programs ran one after the other on the same machine; then the
    median is taken over the rounds.

    Args:
        measurements: a mapping for each run of a program.
        image_shape: (H, W, C).

    Returns:
        Mappings: network, width, batch, program, parameters and flops as counted, the reason where it failed, and
        `Spread`s of images_per_second, times (vaezoo's rate divided by this one's), share (of the matrix product),
        first_step_seconds, peak_bytes, loss.
    """
    product = matrix_product(measurements)[1]
    rows = []
    for case in _cases(measurements, "network", "width", "batch", "program"):
        network = layers(load_network(case["network"], case["width"]), image_shape)
        flops = training_flops(network)
        rates = by_round(measurements, "images_per_second", **case)
        ours = by_round(measurements, "images_per_second", **{**case, "program": "vaezoo"})
        measured = {
            "images_per_second": rates.values(),
            "times": [ours[number] / rate for number, rate in rates.items() if number in ours],
            "share": [rate * flops / product[number] for number, rate in rates.items() if number in product],
        }
        for field in ("first_step_seconds", "peak_bytes", "loss"):
            measured[field] = by_round(measurements, field, **case).values()
        counted = {"parameters": parameters(network), "flops": flops}
        rows.append({**case, **counted, **_failure(measurements, case), **_spreads(measured)})
    return rows


def decoding_rows(measurements):
    """A row for each network and runtime: `Spread`s of the median and of the 95th percentile of a call."""
    rows = []
    for case in _cases(measurements, "network", "runtime"):
        measured = {
            field: by_round(measurements, field, **case).values() for field in ("median_seconds", "p95_seconds")
        }
        rows.append({**case, **_failure(measurements, case), **_spreads(measured)})
    return rows


def _cases(measurements, *keys):
    """The different values of these keys, in order."""
    found = dict.fromkeys(tuple(row[key] for key in keys) for row in measurements if keys[-1] in row)
    return [dict(zip(keys, values, strict=True)) for values in found]


def _failure(measurements, case):
    failures = by_round(measurements, "failed", **case)
    return {"failed": next(iter(failures.values()))} if failures else {}


def _spreads(measured):
    return {name: Spread.of(list(values)) for name, values in measured.items() if values}


def markdown(measurements, machine, image_shape):
    """The report: the machine, how to read it, a table for each network, width and batch, and one of the decoders."""
    library, rates = matrix_product(measurements)
    product = Spread.of(list(rates.values())).text(",.0f", 1e9)
    lines = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in machine.items())]
    lines += [f"- float32 matrix product: {product} GFLOP/s, by {library}", "", READING]
    tables = {}
    for row in training_rows(measurements, image_shape):
        tables.setdefault((row["network"], row["width"], row["batch"]), []).append(row)
    for (network, width, batch), rows in tables.items():
        wide = f", {width} times as wide" if width > 1 else ""
        sizes = f"{rows[0]['parameters']:,} parameters, {rows[0]['flops'] / 1e6:,.1f} MFLOP an image"
        lines += [f"## {network}{wide}, batch {batch}", "", sizes, "", *_table(TRAINING, rows), ""]
    if decoders := decoding_rows(measurements):
        lines += ["## Decoding one code, on one thread", "", *_table(DECODING, decoders), ""]
    return "\n".join(lines)


# The columns: a heading, the field, the format of its numbers, and their unit.
TRAINING = (
    ("", "program", PROGRAMS, None),
    ("images/s", "images_per_second", ",.0f", 1),
    ("times", "times", ".2f", 1),
    ("of the product, %", "share", ".0f", 0.01),
    ("first step, s", "first_step_seconds", ".1f", 1),
    ("peak memory, MiB", "peak_bytes", ",.0f", 2**20),
    ("loss, nats", "loss", ".1f", 1),
)
DECODING = (
    ("", "network", {}, None),
    ("runtime", "runtime", RUNTIMES, None),
    ("median, ms", "median_seconds", ".3f", 1e-3),
    ("95th percentile, ms", "p95_seconds", ".3f", 1e-3),
)


def _table(columns, rows):
    yield "| " + " | ".join(heading for heading, *_ in columns) + " |"
    yield "|-" * len(columns) + "|"
    for row in rows:
        cells = [_cell(row, *column) for _, *column in columns]
        names = sum(unit is None for *_, unit in columns)
        if cells[names] == "":
            cells[names] = row.get("failed", "")
        yield "| " + " | ".join(cells) + " |"


def _cell(row, field, form, unit):
    if unit is None:
        title = form.get(row[field], row[field])
        return title if isinstance(title, str) else title.title
    return row[field].text(form, unit) if field in row else ""
