"""The artefacts of a folder, and one call for all their runtimes: arrays by name in, arrays by name out."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vaezoo.exporting.plan import SCORES as NAMES
from vaezoo.exporting.staging import versions
from vaezoo.regular_files import broken

REFERENCE = ("decoder.keras", "encoder.keras", "verify_inputs.npz")  # the files that every artefact is compared with


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One row of the table.

    Attributes:
        name: in the table: the path inside the folder, and the signature of a SavedModel.
        runtime: "Keras", "TensorFlow", "LiteRT" or "ONNX Runtime".
        path: the file, or the folder of a SavedModel.
        signature: "decode", "encode", "reconstruct", "sample", "score" or "score_drawn".
        precision: "float32", "float16", "dynamic_range" or "int8".
        label: its name in the picture.
    """

    name: str
    runtime: str
    path: Path
    signature: str
    precision: str
    label: str

    @property
    def size(self) -> int:
        """In bytes; of a SavedModel, that of the graph and the weights that a server loads."""
        if self.path.is_file():
            return self.path.stat().st_size
        served = [self.path / "saved_model.pb", *(self.path / "variables").iterdir()]
        return sum(path.stat().st_size for path in served)


def find(folder: Path) -> dict[Path, list[Artefact]]:
    """The artefacts of an export, grouped by the folder of the Keras files that they are compared with.

    Of each SavedModel the newest version is taken. If the same export wrote it and the files beside it, they are one
    group.
    """
    flat = [Artefact("decoder.keras", "Keras", folder / "decoder.keras", "decode", "float32", "Keras")]
    flat.append(Artefact("encoder.keras", "Keras", folder / "encoder.keras", "encode", "float32", "Keras"))
    for kind, signature in (("decoder", "decode"), ("encoder", "encode"), ("score", "score")):
        for precision in ("float32", "float16", "dynamic_range", "int8"):
            path = folder / f"{kind}_{precision}.tflite"
            label = f"LiteRT {precision.replace('_', ' ')}"
            flat.append(Artefact(path.name, "LiteRT", path, signature, precision, label))
    flat.append(Artefact("decoder.onnx", "ONNX Runtime", folder / "decoder.onnx", "decode", "float32", "ONNX"))
    groups = {}
    if present := [artefact for artefact in flat if artefact.path.is_file()]:
        groups[folder] = present
    for path in _saved_models(folder / "savedmodel"):
        name = str(path.relative_to(folder))
        extra = path / "assets.extra"
        rows = [
            Artefact(f"{name}: {signature}", "TensorFlow", path, signature, "float32", "SavedModel")
            for signature in ("decode", "encode", "reconstruct", "sample", *_scores(extra))
        ]
        if folder in groups and _same_reference(folder, extra):
            groups[folder] = [*groups[folder][:2], *rows, *groups[folder][2:]]
        else:
            keras = [
                Artefact(f"{name}: {file}", "Keras", extra / file, signature, "float32", "Keras")
                for file, signature in (("decoder.keras", "decode"), ("encoder.keras", "encode"))
            ]
            groups[extra] = keras + rows
    return groups


def _scores(reference):
    """The scores that an export has: those that are kept beside its Keras files."""
    path = reference / REFERENCE[-1]
    if not path.is_file():
        return ()
    with broken(path), np.load(path) as stored:
        return tuple(name for name in NAMES if name in stored.files)


def _saved_models(folder):
    """The newest version of each model."""
    bases = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [base / str(versions(base)[-1]) for base in bases if versions(base)]


def _same_reference(one, other):
    def digest(path):
        return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None

    return all(digest(one / name) == digest(other / name) is not None for name in REFERENCE)


def load(artefact: Artefact, threads: int) -> Callable[[dict], dict]:
    """Open an artefact in its own runtime, on the CPU.

    Args:
        artefact: which.
        threads: of LiteRT and ONNX Runtime; for Keras and TensorFlow the number is a setting of the process.

    Returns:
        A function from arrays by name [B,...] to arrays by name [B,...], for every B.
    """
    return {"Keras": _keras, "TensorFlow": _saved_model, "LiteRT": _litert, "ONNX Runtime": _onnx}[artefact.runtime](
        artefact, threads
    )


def _keras(artefact, _threads):
    from vaezoo.keras_files import load_keras_file

    model = load_keras_file(artefact.path)

    def run(inputs):
        outputs = model.predict_on_batch(inputs if len(inputs) > 1 else next(iter(inputs.values())))
        return outputs if isinstance(outputs, dict) else {model.output_names[0]: outputs}

    return run


def _saved_model(artefact, _threads):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(artefact.path))
    signature = loaded.signatures[artefact.signature]

    def run(inputs):
        outputs = signature(**{name: tf.constant(values) for name, values in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    run.keep = loaded  # the signature has only weak references to its variables
    return run


def _litert(artefact, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(artefact.path), num_threads=threads)
    runner = interpreter.get_signature_runner(artefact.signature)
    batch = next(iter(runner.get_input_details().values()))["shape_signature"][0]
    return in_batches(lambda inputs: runner(**inputs), int(batch))


def _onnx(artefact, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(artefact.path), options, providers=["CPUExecutionProvider"])
    batch, output = session.get_inputs()[0].shape[0], session.get_outputs()[0].name
    return in_batches(lambda inputs: {output: session.run(None, inputs)[0]}, batch if isinstance(batch, int) else -1)


def in_batches(run, size):
    """Let a function that takes batches of one size take any number of rows; a size of -1 means that it does."""
    if size < 0:
        return run

    def run_all(inputs):
        rows = len(next(iter(inputs.values())))
        parts = []
        for start in range(0, rows, size):
            part = {name: values[start : start + size] for name, values in inputs.items()}
            missing = size - len(next(iter(part.values())))
            padded = {name: np.concatenate([values, values[-1:].repeat(missing, 0)]) for name, values in part.items()}
            parts.append({name: values[: size - missing] for name, values in run(padded).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run_all
