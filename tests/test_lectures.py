"""The lecture notebooks: committed with small, clean outputs, worth an exercise each, and they run."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PATHS = sorted((ROOT / "docs" / "lectures").glob("*.ipynb"))
LARGEST, LONGEST = 400_000, 15  # bytes of a notebook, lines of a code cell

each = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def cells_of(path, kind):
    """The cells of a kind, each as (its source, its outputs)."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), cell.get("outputs", [])) for cell in cells if cell["cell_type"] == kind]


def test_the_site_has_every_lecture():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = next(section["Lectures"] for section in nav if "Lectures" in section)
    assert listed == [f"lectures/{path.name}" for path in PATHS]
    assert len(PATHS) == 5


@each
def test_the_outputs_are_small_and_clean(path):
    assert path.stat().st_size <= LARGEST
    outputs = [output for _, found in cells_of(path, "code") for output in found]
    kinds = [output["output_type"] for output in outputs]
    assert kinds.count("display_data") + kinds.count("execute_result") >= 4  # pictures
    assert "error" not in kinds
    streams = [output for output in outputs if output["output_type"] == "stream"]
    assert all(output["name"] == "stdout" for output in streams)
    text = "".join(line for output in streams for line in output["text"])
    assert not re.search(r"/(home|root|tmp|work|Users)/|warning", text, re.IGNORECASE)
    assert re.findall(r'"execution_count": (?!null)', path.read_text(encoding="utf-8")) == []


@each
def test_a_code_cell_is_short(path):
    for source, _ in cells_of(path, "code"):
        assert source.count("\n") < LONGEST, source


@each
def test_every_exercise_has_an_answer(path):
    text = "\n".join(source for kind in ("markdown", "code") for source, _ in cells_of(path, kind))
    exercises = re.findall(r"^(\d)\. ", text.split("## Exercises")[1].split("## Answers")[0], re.MULTILINE)
    assert len(exercises) >= 2
    assert all(f"Answer {number}" in text for number in exercises)


@pytest.mark.slow
def test_data_that_are_read_for_the_first_time_leave_no_output():
    pytest.importorskip("nbclient", reason="needs pip install -e '.[lectures]'")
    from run_lectures import told_once

    read = "vaezoo: reading folk_melodies from music21 (once) into /data/folk_melodies/folk/1.1.0\n"
    stream = {"output_type": "stream", "name": "stderr", "text": read}
    assert told_once(stream)
    drawn = "vaezoo: drawing the glyphs data set (once, about 15 s) into /data/glyphs/1.0.0\n"
    assert told_once({**stream, "text": drawn + read})
    assert not told_once({**stream, "text": f"{read}UserWarning: of something else\n"})
    assert not told_once({**stream, "name": "stdout"})
    assert not told_once({"output_type": "error", "ename": "ValueError"})


@pytest.mark.slow
@each
def test_a_lecture_runs(path, monkeypatch):
    pytest.importorskip("nbclient", reason="needs pip install -e '.[lectures]'")
    pytest.importorskip("music21", reason="needs pip install -e '.[lectures]'")
    from run_lectures import execute

    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)  # built-in data alone
    notebook = execute(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]
