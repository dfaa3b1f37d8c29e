"""Check that a SavedModel holds nothing that TensorFlow's server cannot run, or cannot repeat."""

from pathlib import Path

from vaezoo.errors import VaezooError

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}

# Ops that draw from a state of the process, so that no two calls agree. A test compares them with TensorFlow's own.
STATEFUL_RANDOM_OPS = {
    "Multinomial",
    "NonDeterministicInts",
    "ParameterizedTruncatedNormal",
    "RandomCrop",
    "RandomGamma",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "RngReadAndSkip",
    "RngSkip",
    "StatefulRandomBinomial",
    "StatefulStandardNormal",
    "StatefulStandardNormalV2",
    "StatefulTruncatedNormal",
    "StatefulUniform",
    "StatefulUniformFullInt",
    "StatefulUniformInt",
    "TruncatedNormal",
}

ALLOWED_TYPES = {"DT_FLOAT", "DT_INT32"}  # examples, codes and parameters; tokens, labels and seeds


def check_saved_model(folder: Path) -> None:
    """Refuse a SavedModel that a server cannot run, or whose draws cannot be repeated.

    Args:
        folder: the one that holds saved_model.pb.

    Raises:
        VaezooError: with the op, the function or the tensor, and the reason.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        for reason in _reasons(graph):
            raise VaezooError(f"this model cannot be exported as a SavedModel: {reason}")


def _reasons(meta_graph):
    """Every reason against a graph, one sentence each."""
    library = meta_graph.graph_def.library.function
    nodes = [("the graph", node) for node in meta_graph.graph_def.node]
    nodes += [(f"function '{f.signature.name}'", node) for f in library for node in f.node_def]
    for place, node in nodes:
        if node.op in PYTHON_OPS:
            yield f"{place} holds {node.op} ('{node.name}'), which calls back into Python, and the server has no Python"
        if node.op in STATEFUL_RANDOM_OPS:
            yield (
                f"{place} holds {node.op} ('{node.name}'), which draws from a hidden state, so no request can be "
                "repeated; use tf.random.stateless_* with the seed"
            )
        if node.attr["_XlaMustCompile"].b:
            yield f"{place} requires XLA ('{node.name}' has _XlaMustCompile, from an inner jit_compile=True)"
    for function in library:
        if function.attr["_XlaMustCompile"].b:
            yield f"function '{function.signature.name}' requires XLA (_XlaMustCompile, from an inner jit_compile=True)"
    for name, signature in meta_graph.signature_def.items():
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
            for key, tensor in tensors.items():
                if (dtype := _type_name(tensor.dtype)) not in ALLOWED_TYPES and not name.startswith("__"):
                    yield (
                        f"{kind} '{key}' of signature '{name}' is {dtype}; the server's REST side takes and returns "
                        "float32 (and int32 for tokens, labels and seeds)"
                    )


def _type_name(number):
    from tensorflow.core.framework import types_pb2

    return types_pb2.DataType.Name(number)
