"""Everything private or undocumented of Keras, TensorFlow and TensorFlow Probability that the package uses.

Tried on the versions in TRIED. pyproject.toml excludes later minor releases: before you allow one, run
tests/test_internals.py with it, which names whatever is gone.

Methods such as `_log_prob` of a distribution are not listed: TensorFlow Probability documents them for subclasses.
"""

TRIED = {"keras": "3.15.1", "tensorflow": "2.21.0", "tensorflow-probability": "0.25.0"}

# The modules by which a `.keras` file names a functional model, and the operations on its tensors, such as x + y.
FUNCTIONAL = "keras.src.models.functional"
OPERATIONS = ("keras.src.ops.math", "keras.src.ops.nn", "keras.src.ops.numpy")


def take_summed_gradients(optimizer):
    """Let a Keras optimizer take gradients that are summed over the replicas already.

    By default it clips the gradients of each replica and then sums them, so that clipping depends on the number of
    replicas. There is no public way to turn the sum off.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # under mixed_float16, a LossScaleOptimizer wraps it
    inner._all_reduce_sum_gradients = list


def adam_moments(optimizer, variable):
    """The moments (m, v) of a variable in `keras.optimizers.Adam`: TensorFlow's fused kernel updates them in place.

    The public `optimizer.variables` does not say which variable a moment belongs to.
    """
    return tuple(of_variable(optimizer, moments, variable) for moments in (optimizer._momentums, optimizer._velocities))


def of_variable(optimizer, values, variable):
    """The one among the values, in the order of the trainable variables, that belongs to a variable."""
    return values[optimizer._get_variable_index(variable)]


def loss_scale(optimizer):
    """The variable that holds the loss scale under mixed_float16; None for an optimizer that does not scale the loss.

    Its initial value is an argument of `LossScaleOptimizer`, but `compile` makes that optimizer without it.
    """
    return getattr(optimizer, "dynamic_scale", None)


def set_train_function(model, function):
    """Let `fit` call `function(iterator)` for its steps, in place of the function that it makes from `train_step`."""
    model.train_function = function


def layers_within(layer):
    """Every layer inside a model or another layer, at any depth: `Model.layers` has those of the first level alone."""
    return layer._flatten_layers(recursive=True, include_self=False)


def skip_symbolic_build(model):
    """Let `fit` and `evaluate` under a strategy use a built model without building it from the first batch.

    Keras averages the first batch over the replicas for that, which fails with several workers if it is a mapping.
    """
    model._maybe_symbolic_build = lambda **_: None
