"""Execute the lecture notebooks in docs/lectures in place, with small pictures.

    python tools/run_lectures.py                         # all of them
    python tools/run_lectures.py 1_autoencoder_to_vae    # one

Needs `pip install -e '.[lectures]'`. Each notebook runs in a fresh kernel and in an empty folder, so nothing that it
writes stays. What would differ from run to run without a reason, times and counts of cells, is not kept.
"""

import argparse
import base64
import io
import os
import re
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageChops

FOLDER = Path(__file__).parent.parent / "docs" / "lectures"
WIDEST = 800  # pixels of a stored picture
GREYS, COLOURS = 16, 64  # entries of its palette
SECONDS = 1800  # for one cell; the machine may be busy


def execute(path):
    """The notebook of that path with new outputs."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not told_once(output)]
        for output in cell.get("outputs", ()):
            if "png" in str(output.get("data", {}).keys()):
                output.data["image/png"] = small(output.data["image/png"])
                output.metadata = {}
            if "execution_count" in output:
                output.execution_count = None
        if cell.cell_type == "code":
            cell.execution_count = None
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def told_once(output):
    """Whether an output of a cell only tells that data are read or downloaded, which happens once on a machine."""
    lines = output["text"].splitlines() if output.get("name") == "stderr" else []
    return bool(lines) and all(re.fullmatch(r"vaezoo: .*\(once.*\) into .*", line) for line in lines)


def small(png):
    """A PNG in base64, at most so wide and with a palette: a tenth of the size of what matplotlib writes."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    grey = ImageChops.difference(picture, picture.convert("L").convert("RGB")).getbbox() is None
    file = io.BytesIO()
    picture.quantize(GREYS if grey else COLOURS, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def children_seconds():
    """The processor time of the kernels that have ended: unlike the time on the clock, no other program changes it."""
    times = os.times()
    return times.children_user + times.children_system


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks of docs/lectures (all)")
    names = parser.parse_args(argv).names or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in names:
        path, started, used = FOLDER / f"{name}.ipynb", time.perf_counter(), children_seconds()
        notebook = execute(path)
        nbformat.write(notebook, path)
        seconds, used = time.perf_counter() - started, children_seconds() - used
        size = path.stat().st_size / 1000
        print(f"{name}: {seconds:.0f} s ({used:.0f} s of processor time), {size:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
