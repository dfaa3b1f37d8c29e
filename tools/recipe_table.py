"""Write the table of recipes of the README from the recipes and the measured results.

python tools/recipe_table.py        # writes README.md
"""

import csv
import re
from pathlib import Path

from vaezoo.atomic import write_text
from vaezoo.config import load_recipe
from vaezoo.recipe_files import recipe_names

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
TABLE = re.compile(r"(?<=<!-- recipes -->\n).*?(?=<!-- end -->)", re.DOTALL)
ADDRESSES = {"arXiv:": "https://arxiv.org/abs/", "doi:": "https://doi.org/", "https:": "https:"}


def main():
    readme = ROOT / "README.md"
    write_text(readme, TABLE.sub(lambda _: table(), readme.read_text(encoding="utf-8")))


def table():
    """The rows: the recipe, what it is, its paper, and the NLL where it was measured."""
    measured = {row["recipe"]: f"NLL {row['nll']}" for row in rows("zoo")}
    measured |= {row["recipe"]: row["measured"] for row in rows("recipes")}
    lines = ["| recipe | what it is | paper | measured |", "|-|-|-|-|"]
    for name in recipe_names():
        recipe = load_recipe(name)
        link = f"[`{name}`](docs/gallery.md#{name})"
        lines.append(f"| {link} | {recipe.summary} | {paper(recipe.paper)} | {measured.get(name, '')} |")
    return "\n".join(lines) + "\n"


def rows(name):
    """The rows of a table of results."""
    with open(RESULTS / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def paper(text):
    """The first paper of a recipe, as "Authors (year)" with a link where the recipe has one."""
    first = text.split(";")[0]
    short = re.match(r".*?\(\d{4}\)", first)[0]
    found = re.search(r"(arXiv:|doi:|https:)(\S+)", first)
    return f"[{short}]({ADDRESSES[found[1]]}{found[2]})" if found else short


if __name__ == "__main__":
    main()
