"""What a SavedModel must not hold, if TensorFlow's server is to run it: each with the reason."""

from pathlib import Path

from vaezoo.errors import VaezooError

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}

# Ops whose draws come from a state in the process: no two calls agree. A test compares this with TensorFlow's registry.
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

ALLOWED_TYPES = {"DT_FLOAT", "DT_INT32"}  # images, codes and parameters; labels and seeds


def check_saved_model(folder: Path) -> None:
    """Refuse a SavedModel that a server cannot run, or not reproducibly.

    Args:
        folder: the one that holds saved_model.pb.

    Raises:
        VaezooError: naming the op, the function or the tensor, and the reason.
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
            yield f"{place} holds {node.op} ('{node.name}'), which calls back into Python, and a server has none"
        if node.op in STATEFUL_RANDOM_OPS:
            yield (
                f"{place} holds {node.op} ('{node.name}'), which draws from a hidden state, so no request could be "
                "repeated; draw with tf.random.stateless_* from the seed"
            )
        if node.attr["_XlaMustCompile"].b:
            yield f"{place} demands XLA ('{node.name}' has _XlaMustCompile, from an inner jit_compile=True)"
    for function in library:
        if function.attr["_XlaMustCompile"].b:
            yield f"function '{function.signature.name}' demands XLA (_XlaMustCompile, from an inner jit_compile=True)"
    for name, signature in meta_graph.signature_def.items():
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
            for key, tensor in tensors.items():
                if (dtype := _type_name(tensor.dtype)) not in ALLOWED_TYPES and not name.startswith("__"):
                    yield (
                        f"{kind} '{key}' of signature '{name}' is {dtype}; the server's REST side takes and gives "
                        "float32 (and int32 for labels and seeds)"
                    )


def _type_name(number):
    from tensorflow.core.framework import types_pb2

    return types_pb2.DataType.Name(number)
