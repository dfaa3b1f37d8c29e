"""What the tests of hostile and broken files share: how a refusal looks, and how a file is spoilt."""

import hashlib
import io
import json
import zipfile

import h5py

from vaezoo.cli import main

# What a server says of a model with the one signature decode: z [B,3] → image [B,3].
TENSOR = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "3"}]}}
DECODE = {"inputs": {"z": TENSOR}, "outputs": {"image": TENSOR}}
METADATA = {"metadata": {"signature_def": {"signature_def": {"decode": DECODE}}}}


def refusal(capsys, *argv):
    """The one line with which the command line refuses these arguments."""
    capsys.readouterr()
    code = main(list(map(str, argv)))
    printed = capsys.readouterr()
    assert code == 2, printed
    assert printed.out == ""
    assert printed.err.startswith("vaezoo: ")
    assert printed.err.count("\n") == 1
    assert len(printed.err) < 900
    assert printed.err.strip().isprintable()
    return printed.err


class KerasFile:
    """The members of a Keras file, to be spoilt and written again."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.config = json.loads(self.members["config.json"])

    def edit_weights(self, edit):
        """Let `edit` change the open HDF5 file."""
        content = io.BytesIO(self.members["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            edit(file)
        self.members["model.weights.h5"] = content.getvalue()

    def write(self, path, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in (self.members | {"config.json": json.dumps(self.config)}).items():
                archive.writestr(name, content)


def sign(checkpoint, state=None, file=None):
    """Write the manifest of a checkpoint anew, with valid checksums.

    Args:
        checkpoint: a `Checkpoint`, whose model file may have been changed.
        state: the training state to claim; by default that of the manifest.
        file: what to claim of the model file besides the truth.
    """
    model = checkpoint.model.read_bytes()
    state = json.loads(checkpoint.manifest.read_text())["state"] if state is None else state
    file = {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model), **(file or {})}
    digest = hashlib.sha256(json.dumps([state, file], sort_keys=True).encode()).hexdigest()
    checkpoint.manifest.write_text(json.dumps({"sha256": digest, "file": file, "state": state}))
