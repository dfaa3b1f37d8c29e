"""Whether the artefacts agree with the Keras decoder: measured in a process of its own, and judged here."""

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
    """A measurement.

    Attributes:
        report: what verify.json holds: conditions, a row for each artefact, and whether all are within bounds.
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
        """What exceeds its bound, a line each."""
        return [f"{row['artefact']}: {row['exceeds']}" for row in self.report["rows"] if row["exceeds"]]


def verify(folder: str | Path, threads: int = 1) -> Agreement:
    """Measure every artefact of an export against its Keras files, each in its own runtime.

    1,000 codes of the prior go through each decoder and 1,000 test images through each encoder; the export keeps them,
    so neither the run nor its data is needed. Leaves verify.json, verify.txt and verify.png in the folder.

    Args:
        folder: what `export` wrote.
        threads: for every runtime, at least 1.

    Returns:
        The `Agreement`; ask it whether it `passed`.

    Raises:
        VaezooError: if the folder holds no export, lacks what is needed to measure it, or a runtime fails.
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
                raise VaezooError(f"'{reference}' lacks {name}, which the artefacts are compared with; export again")
    if not os.access(folder, os.W_OK):
        raise VaezooError(f"cannot write the report to '{folder}': permission denied")
    _measure(folder, threads)
    return Agreement(json.loads((folder / "verify.json").read_text(encoding="utf-8")))


def _measure(folder, threads):
    # On the CPU: that is where all the runtimes can run. The package may lie anywhere, also in the current folder.
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    running = (done.stdout.split("\n")[-2:] or [""])[0] or "the Keras files"
    if done.returncode < 0:
        reason = f"the runtime died of {signal.Signals(-done.returncode).name}"
    else:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    raise VaezooError(f"{running} could not be run: {reason}")
