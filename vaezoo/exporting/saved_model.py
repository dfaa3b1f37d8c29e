"""A SavedModel for TensorFlow Serving: checked, with warm-up records and batching parameters beside it."""

import os
import shutil
from pathlib import Path

import tensorflow as tf

from vaezoo.atomic import plain_errors, write_text
from vaezoo.exporting.graph_check import check_saved_model
from vaezoo.exporting.inputs import by_signature
from vaezoo.exporting.signatures import Functions, save

WARM_UP_BATCHES = (1, 8)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)

# The comments are part of the file, for readers who tune it.
BATCHING = f"""\
# Read by tensorflow_model_server --enable_batching --enable_per_model_batching_parameters, from the version's folder.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
batch_timeout_micros {{ value: 2000 }}    # how long a request waits for others to share its batch
max_enqueued_batches {{ value: 256 }}     # above it requests are refused with UNAVAILABLE, which clients retry
num_batch_threads {{ value: 4 }}          # about the number of cores
{chr(10).join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)}
"""


def write(functions: Functions, folder: Path, name: str, reference: dict[str, Path], inputs: dict) -> None:
    """Write one version, complete but for its model card.

    Args:
        functions: the signatures of the model.
        folder: where to write; must not exist.
        name: the model's name at the server.
        reference: file name → the file that `verify` compares this version with; kept in assets.extra.
        inputs: from `measured_inputs`; the warm-up sends the first of them.

    Raises:
        VaezooError: for a graph that a server could not run, or a disk that cannot be written.
    """
    with plain_errors(folder):
        save(functions, folder, tuple(functions.specs), default="decode")
        check_saved_model(folder)
        extra = folder / "assets.extra"
        extra.mkdir()
        for file, source in reference.items():
            _link(source, extra / file)
        warm_up = {signature: by_signature(inputs)[signature] for signature in functions.specs}
        _write_warm_up(extra / "tf_serving_warmup_requests", name, warm_up)
    write_text(folder / "batching_params.pbtxt", BATCHING)


def _write_warm_up(path, name, inputs):
    """A PredictionLog for each signature and batch: the server replays them before it takes traffic."""
    from tensorflow_serving.apis import prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, arrays in {**inputs, "serving_default": inputs["decode"]}.items():
            for batch in WARM_UP_BATCHES:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = name, signature
                for key, values in arrays.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(values[:batch]))
                writer.write(log.SerializeToString())


def models_config(names) -> str:
    """The server's configuration for these models, in /models, where the deployment kit mounts them."""
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "/models/{name}" model_platform: "tensorflow" }}\n' for name in names
    )
    return (
        f"# For tensorflow_model_server --model_config_file=/models/models.config\nmodel_config_list {{\n{entries}}}\n"
    )


def update_models_config(folder: Path, new: str) -> bool:
    """Name a new model in models.config. A file that was edited by hand is left as it is.

    Args:
        folder: the one that holds a folder for each model.
        new: the name of the new model.

    Returns:
        Whether the file names it now.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    path = folder / "models.config"
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if before is None or before == models_config([name for name in names if name != new]):
        write_text(path, models_config(names))
        return True
    return f'"{new}"' in before


def _link(source, target):
    try:
        os.link(source, target)  # the same file beside the SavedModel: no second copy of the weights on this disk
    except OSError:
        shutil.copyfile(source, target)
