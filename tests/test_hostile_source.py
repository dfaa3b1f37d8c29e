"""What vaezoo's own code never does with a file: run it. Read from the source, so that no path through it is missed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("vaezoo", "export", "tools") for path in (ROOT / folder).rglob("*.py"))

UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "shutil.unpack_archive"}
METHODS = {"extractall", "extract", "enable_unsafe_deserialization", "unsafe_load", "full_load"}
LOADERS = {"keras.models.load_model", "keras.saving.load_model"}
OPTIONS = {("allow_pickle", "True"), ("safe_mode", "False"), ("shell", "True")}


def unsafe(source, file="vaezoo/any.py"):
    """What a file does that it must not, a line each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            packages = {module.split(".")[0] for module in modules} & UNPICKLERS
            if file.startswith("tools/benchmarking/"):  # torch is a peer there, and reads no file
                packages -= {"torch"}
            yield from (f"imports {package}" for package in packages)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS or name.split(".")[-1] in METHODS:
                yield f"calls {name}"
            if name in LOADERS and file != "vaezoo/keras_files.py":
                yield "loads a Keras file that was not looked through: use keras_files.load_keras_file"
            if name == "yaml.load" and "_Loader" not in map(ast.unparse, node.args):
                yield "reads YAML with another loader"
            given = {(option.arg, ast.unparse(option.value)) for option in node.keywords}
            yield from (f"{name} with {option}={value}" for option, value in given & OPTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_run(path):
    assert not list(unsafe(path.read_text(), str(path.relative_to(ROOT))))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, dill.source",
        "from torch import load",
        "eval('1')",
        "os.system('true')",
        "archive.extractall()",
        "np.load(path, allow_pickle=True)",
        "keras_files.load(path, safe_mode=False)",
        "keras.models.load_model(path)",
        "keras.config.enable_unsafe_deserialization()",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_what_would_run_one_is_found(source):
    assert list(unsafe(source))
