"""Data flows down the list in CONTRIBUTING.md: a file imports only from lines above its own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.quiet import UNNEEDED

ROOT = Path(__file__).parent.parent
LISTING = re.search("<!-- import order -->(.*?)<!-- end -->", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
HOUSE = [line.split()[0].removesuffix(".py").rstrip("/").replace("/", ".") for line in LISTING.strip().splitlines()]
FILES = sorted(
    path for path in (ROOT / "vaezoo").rglob("*.py") if path.parent != ROOT / "vaezoo" or path.stem[0] != "_"
)


def place(module):
    """The line of the list that a module belongs to."""
    return next((line for line, entry in enumerate(HOUSE) if module == entry or module.startswith(entry + ".")), None)


def imported(path):
    """Every vaezoo module that a file names in an import, at any depth of the code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which this test does not follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_above(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    own = place(module)
    assert own is not None, f"{module} has no line in CONTRIBUTING.md"
    for name in imported(path):
        if name.startswith("vaezoo.") and name != "vaezoo.__version__":
            line = place(name)
            assert line is not None, f"{module} imports {name}, which has no line in CONTRIBUTING.md"
            assert line <= own, f"{module} imports {name}, which is below it"


def test_every_line_of_the_list_exists():
    for entry in HOUSE:
        path = ROOT / entry.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), entry


HEAVY = {"tensorflow", "keras", "tensorflow_probability", "tensorflow_datasets", "matplotlib", "numpy"}


@pytest.mark.parametrize("code", ["import vaezoo", "from vaezoo.cli import main; main(['list'])"])
def test_what_needs_no_tensorflow_does_not_import_it(code):
    slow = HEAVY | {"pydantic", "asyncio"}  # of a tenth of a second each
    check = f"{code}; import sys; loaded = {slow!r} & sys.modules.keys(); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


@pytest.mark.parametrize("module", ["vaezoo.runs", "vaezoo.training", "vaezoo.training.inspection"])
def test_a_run_is_opened_without_tensorflow(module):
    check = f"import {module}, sys; loaded = {HEAVY - {'numpy'}!r} & sys.modules.keys(); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


@pytest.mark.slow
def test_a_command_imports_no_more_than_it_needs_and_hides_nothing(tmp_path):
    code = f"""
import gc, sys
from vaezoo.cli import main
from vaezoo.quiet import UNNEEDED
before = gc.get_stats()[2]["collections"]
assert main(["sample", "mlp_vae_2d/mnist", "-n", "1", "--out", {str(tmp_path)!r}]) == 0
assert gc.get_stats()[2]["collections"] - before < 2
assert gc.isenabled() and gc.get_freeze_count() > 100_000
loaded = {{*UNNEEDED}} & sys.modules.keys()
assert not loaded, loaded
import keras, matplotlib.pyplot, pandas, scipy, sklearn
assert keras.wrappers.SKLearnClassifier
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def imports_keras(entry):
    """Whether a file of that line imports Keras, or TensorFlow, which does."""
    path = ROOT / entry.replace(".", "/")
    files = path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return any(re.search(r"^(import|from) (keras|tensorflow)", file.read_text(), re.MULTILINE) for file in files)


# Not vaezoo.parts: the hook imports subclasses of its class, which exists only after the import of Keras.
FIRST = ["vaezoo.errors", *(module for module in HOUSE if imports_keras(module) and module != "vaezoo.parts")]


@pytest.mark.slow
@pytest.mark.parametrize("module", [*FIRST, "vaezoo.networks.conv", "vaezoo.models.vae", "vaezoo.training.fit"])
def test_any_module_can_be_the_first_that_imports_keras(module):
    # Importing Keras runs our hook, which imports vaezoo.zoo during the import of that module.
    # Without what Keras imports where it is installed, which takes longer than the rest, and without collections.
    code = f"import gc, sys; gc.disable(); sys.modules.update(dict.fromkeys({UNNEEDED})); import {module}, keras; "
    code += "keras.saving.get_registered_object('vaezoo>VAE') or exit(1)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "import keras, vaezoo",
        "import vaezoo, keras",
        "import vaezoo, tensorflow as tf; tf.keras.layers.Dense(1); import keras",
        # An import that was interrupted is not the last.
        "import vaezoo, sys; sys.modules['numpy'] = None\ntry: import keras\nexcept ImportError: pass\n"
        "del sys.modules['numpy']; import keras",
    ],
)
def test_keras_knows_the_classes_in_any_order_of_import(order):
    code = f"import gc; gc.disable(); {order}; keras.saving.get_registered_object('vaezoo>VAE') or exit(1)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
