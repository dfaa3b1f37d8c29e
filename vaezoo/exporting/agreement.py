"""Whether the artefacts agree with the Keras files. The measurement runs in a separate process."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from vaezoo.errors import VaezooError
from vaezoo.exporting.artefacts import REFERENCE, find
from vaezoo.exporting.table import as_text


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The result of a measurement.

    Attributes:
        report: the content of verify.json: conditions, a row for each artefact, and whether all are within bounds.
    """

    report: dict

    @property
    def passed(self) -> bool:
        """Whether every artefact is within its bound."""
        return self.report["passed"]

    @property
    def text(self) -> str:
        """The table."""
        return as_text(self.report)

    @property
    def failures(self) -> list[str]:
        """The artefacts that exceed their bounds, a line each."""
        return [f"{row['artefact']}: {row['exceeds']}" for row in self.report["rows"] if row["exceeds"]]


def verify(folder: str | Path, threads: int = 1) -> Agreement:
    """Measure every artefact of an export against its Keras files, each in its own runtime.

    1,000 codes of the prior go through each decoder and 1,000 test examples through each encoder. The export keeps
    them, so neither the run nor its data is needed. Writes verify.json and verify.txt into the folder, and for a model
    of images verify.png.

    Args:
        folder: the folder that `export` wrote.
        threads: the number of threads of every runtime, at least 1.

    Returns:
        The `Agreement`; its `passed` is true where every artefact is within its bound.

    Raises:
        VaezooError: if the folder holds no export, a file that the measurement needs is missing, or a runtime fails.
    """
    folder = Path(folder)
    if not isinstance(threads, int) or threads < 1:
        raise VaezooError(f"threads is {threads!r}; it must be at least 1")
    groups = find(folder)
    if not groups:
        raise VaezooError(f"'{folder}' holds no export; `vaezoo export RUN --to {folder}` makes one")
    for reference in groups:
        for name in REFERENCE:
            if not (reference / name).is_file():
                raise VaezooError(f"'{reference}' lacks {name}, which every artefact is compared with; export again")
    if not os.access(folder, os.W_OK):
        raise VaezooError(f"cannot write the report to '{folder}': permission denied")
    _measure(folder, threads)
    return Agreement(json.loads((folder / "verify.json").read_text(encoding="utf-8")))


def _measure(folder, threads):
    # On the CPU, the only device that all runtimes have. The package may be anywhere, also in the current folder.
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": str(threads),
    }
    command = [sys.executable, "-m", "vaezoo.exporting.measuring", str(folder.resolve()), str(threads)]
    reading, held_open = os.pipe()  # the process ends as soon as this one no longer holds the other end
    try:
        done = subprocess.run(command, env=environment, stdin=reading, capture_output=True, text=True, check=False)
    finally:
        os.close(reading)
        os.close(held_open)
    if done.returncode == 0:
        return
    running = (done.stdout.split("\n")[-2:] or [""])[0] or "the Keras files"
    if done.returncode < 0:
        reason = f"the runtime was killed by {signal.Signals(-done.returncode).name}"
    else:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    raise VaezooError(f"{running} could not be run: {reason}")
