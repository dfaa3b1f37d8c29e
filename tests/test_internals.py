"""The private names of Keras that the package uses exist, and do what `vaezoo.internals` expects of them."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pytest

from vaezoo import internals

ROOT = Path(__file__).parent.parent
GONE = "{} is gone from {}: adapt vaezoo/internals.py, or cap the dependency in pyproject.toml below this release"


def test_names_of_an_optimizer():
    weight = keras.Variable([1.0])
    adam = keras.optimizers.Adam()
    adam.build([weight])
    release = f"Keras {keras.__version__}"
    for name in ("_all_reduce_sum_gradients", "_get_variable_index", "_momentums", "_velocities"):
        assert hasattr(adam, name), GONE.format(f"Adam.{name}", release)
    scaled = keras.optimizers.LossScaleOptimizer(adam)
    scaled.build([weight])
    for name in ("inner_optimizer", "dynamic_scale"):
        assert hasattr(scaled, name), GONE.format(f"LossScaleOptimizer.{name}", release)
    assert internals.loss_scale(adam) is None
    assert internals.loss_scale(scaled) == 2**15


def test_the_moments_are_those_of_the_variable():
    weights = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    adam = keras.optimizers.Adam(beta_1=0.75, beta_2=0.5)
    adam.apply([np.array([4.0, 8.0], "float32"), np.array([2.0], "float32")], weights)
    m, v = internals.adam_moments(adam, weights[0])
    np.testing.assert_allclose(m, [1, 2])
    np.testing.assert_allclose(v, [8, 32])


@pytest.mark.parametrize("wrap", [lambda inner: inner, keras.optimizers.LossScaleOptimizer])
def test_gradients_are_not_summed_again(wrap, monkeypatch):
    # Keras sums them only under a strategy; here it is enough that it asks the method that is replaced.
    adam = keras.optimizers.Adam()
    optimizer = wrap(adam)
    internals.take_summed_gradients(optimizer)
    assert adam._all_reduce_sum_gradients is list
    source = Path(sys.modules[type(adam)._all_reduce_sum_gradients.__module__].__file__).read_text()
    assert "= self._all_reduce_sum_gradients(" in source, GONE.format("the call of it", f"Keras {keras.__version__}")


def test_fit_calls_the_given_function():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    called = []
    internals.set_train_function(model, lambda iterator: called.append(next(iterator)) or {"loss": 0.0})
    model.fit(np.zeros((4, 1)), np.zeros((4, 1)), batch_size=2, verbose=0)
    assert len(called) == 2, GONE.format("the use of model.train_function in fit", f"Keras {keras.__version__}")


def test_layers_are_found_at_any_depth():
    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.networks = [keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="deep")])]

    model = keras.Sequential([keras.Input((1,)), Outer()])
    assert hasattr(model, "_flatten_layers"), GONE.format("Layer._flatten_layers", f"Keras {keras.__version__}")
    assert "deep" in {layer.name for layer in internals.layers_within(model)}


def test_a_built_model_is_not_built_from_its_first_batch():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    called = []
    model._maybe_symbolic_build = lambda **keywords: called.append(keywords)
    model.fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0)
    model.evaluate(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0)
    assert len(called) == 2, GONE.format("Model._maybe_symbolic_build", f"Keras {keras.__version__}")
    internals.skip_symbolic_build(model)
    model.fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0)
    assert len(called) == 2


def test_the_module_names_in_a_keras_file():
    x = keras.Input((4,))
    network = keras.Model(x, [x[:, :2] * 2 + 1, keras.ops.softplus(x), keras.ops.top_k(x, 1)[0]])
    found, rest = set(), [keras.saving.serialize_keras_object(network)]
    while rest:
        part = rest.pop()
        rest.extend(part.values() if isinstance(part, dict) else part if isinstance(part, list) else [])
        if isinstance(part, dict) and str(part.get("module")).startswith("keras.src"):
            found.add(part["module"])
    expected = {internals.FUNCTIONAL, *internals.OPERATIONS}
    assert found == expected, f"Keras {keras.__version__} has other module names: adapt vaezoo/internals.py"


@pytest.mark.parametrize("package", internals.TRIED)
def test_only_releases_that_were_tried_are_allowed(package):
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirement = next(each for each in requirements if re.fullmatch(package, re.split("[>=<]", each)[0]))
    major, minor, *_ = (int(number) for number in internals.TRIED[package].split("."))
    assert requirement.endswith(f",<{major}.{minor + 1}")
    assert metadata.version(package).split(".")[:2] == [str(major), str(minor)], f"try {package}, and change TRIED"


def private_uses(path):
    """The private attributes of other objects that a file uses, and the private modules that it names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]|__internal__", node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")) and node.attr != "_asdict":
                yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and re.match(r"(keras\.src|tensorflow\.python)\.\w", str(node.value)):
            yield node.value
        elif isinstance(node, ast.ImportFrom) and re.match(r"keras\.src|tensorflow\.python", node.module):
            yield node.module


FILES = [path for path in sorted((ROOT / "vaezoo").rglob("*.py")) if path.name != "internals.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_are_used_in_one_module_only(path):
    assert not list(private_uses(path))


def test_a_private_name_is_found():
    assert list(private_uses(ROOT / "vaezoo/internals.py"))
