"""The README and the documentation are true: commands parse, Python runs, pictures and links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import gallery
import numpy as np
import pytest
import recipe_table

import vaezoo
from vaezoo.cli.main import build_parser
from vaezoo.config import load_recipe
from vaezoo.recipe_files import recipe_names
from vaezoo.training import train

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    """The examples of a page: fenced, or indented by four."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```\w+\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in [*fenced, *indented] if block.strip()]


def of_each_page(find):
    """(page, what was found), with a readable name for each."""
    found = [(page, each) for page in PAGES for each in find(page)]
    return pytest.mark.parametrize(("page", "each"), found, ids=[f"{page.name}: {each[:60]}" for page, each in found])


def commands(page):
    lines = "\n".join(blocks(page)).replace("\\\n", " ").splitlines()
    return [line[line.index("vaezoo ") :] for line in lines if re.match(r"(TF_CONFIG='.*?'\s+)?vaezoo ", line)]


def python(page):
    """What to run of a page: its blocks that begin with an import, those of `extend.md` as one program."""
    if page.name == "extend.md":
        return ["\n".join(blocks(page))]
    found = [block for block in blocks(page) if re.match(r"(import|from) ", block)]
    return [block for block in found if "http" not in block]


def links(page):
    found = re.findall(r"(?<!!)\[.*?\]\((?!http)(.*?)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if not link.startswith("#")]


def test_there_are_examples_to_check():
    assert len([command for page in PAGES for command in commands(page)]) > 40
    assert len([block for page in PAGES for block in python(page)]) >= 5


@of_each_page(commands)
def test_a_command_parses(page, each):
    build_parser().parse_args(shlex.split(each, comments=True)[1:])


@of_each_page(lambda page: re.findall(r"!\[.*?\]\((.*?)\)", page.read_text(encoding="utf-8")))
def test_a_picture_exists(page, each):
    assert (page.parent / each).is_file()


@of_each_page(links)
def test_a_link_leads_somewhere(page, each):
    assert (page.parent / each.split("#")[0]).exists()


def test_the_readme_is_one_page_and_has_every_recipe_with_its_figure():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 120
    assert recipe_table.table() in text  # else run tools/recipe_table.py
    assert all(f"| [`{name}`](docs/gallery.md#{name}) |" in text for name in recipe_names())
    assert "| NLL 86.25 |" in text


def test_a_figure_of_the_readme_stands_in_a_table_of_the_documentation():
    rows = [line for page in PAGES[1:] for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    for row in recipe_table.rows("recipes"):
        number = re.search(r"[\d.]+", row["measured"])[0]
        assert any(f"`{row['recipe']}`" in line and number in line for line in rows), row


def test_the_gallery_has_a_picture_of_every_recipe():
    assert [row["recipe"] for row in recipe_table.rows("gallery")] == recipe_names()
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == gallery.page()  # else run tools/gallery.py
    pictures = list((ROOT / "docs" / "pictures" / "gallery").iterdir())
    assert sorted(picture.stem for picture in pictures) == recipe_names()
    assert sum(picture.stat().st_size for picture in pictures) < 2e6


def test_a_release_has_one_version():
    assert f"\nversion: {vaezoo.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    date = re.search(r"date-released: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"))[1]
    assert f"\n## {vaezoo.__version__} ({date})\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_paper_has_a_short_name_and_an_address():
    text = "Ho et al. (2020), On examples, arXiv:2006.1; Li (2021), More, doi:10.1/2"
    assert recipe_table.paper(text) == "[Ho et al. (2020)](https://arxiv.org/abs/2006.1)"
    assert recipe_table.paper("Sohn & Lee (2015), A book") == "Sohn & Lee (2015)"


@pytest.mark.slow
@of_each_page(python)
def test_the_python_runs(page, each, tiny_recipe, bars_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begins = 'load_recipe("mlp_vae", {'
    each = each.replace(begins, f'{begins}"data.name": {str(bars_file)!r}, ')  # a training of seconds
    if page.name == "extend.md":  # a program of its own, since it registers a part
        done = subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "(4, 8, 8, 1)" in done.stdout
        return
    run = train(load_recipe(tiny_recipe, {"data.name": str(bars_file)}), tmp_path / "runs" / "a", quiet=True)
    (tmp_path / "runs" / "conv_vae").symlink_to(run.path)
    with np.load(bars_file) as bars:
        images, labels = (bars["x_test"] > 127).astype("float32"), bars["y_test"]
    x_train = np.zeros((256, 28, 28, 1), "float32")
    names = {"x": images, "images": images, "labels": labels, "x_train": x_train, "z": np.zeros((2, 3), "float32")}
    exec(compile(each, page.name, "exec"), names)
