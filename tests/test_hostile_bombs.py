"""Small files that ask for terabytes: each is refused in one line, within seconds and little memory."""

import contextlib
import io
import json
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

GIB = 2**30
SECONDS, MEGABYTES = 10, 300  # CPU time, and memory on top of what is in use


def zip_of_zeros(path, members, claimed=2**32 - 2):
    """A zip whose members, a few kilobytes each, unpack to 4 GiB."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)  # a mebibyte, which can be repeated
    content = block * 64
    with open(path, "wb") as file:
        directory = b""
        for name, start in members.items():
            header = start + bytes(-len(start) % 64)
            body = b"\0" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF) + header + content
            fields = struct.pack("<5H3L2H", 20, 0, 8, 0, 0, 0, len(body), claimed, len(name), 0)
            directory += b"PK\1\2\x14\0" + fields + struct.pack("<3H2L", 0, 0, 0, 0, file.tell()) + name.encode()
            file.write(b"PK\3\4" + fields + name.encode() + body)
        end = struct.pack("<4H2LH", 0, 0, len(members), len(members), len(directory), file.tell(), 0)
        file.write(directory + b"PK\5\6" + end)


def zip_of_names(path, count=400_000):
    """A zip that is nothing but its list of members."""
    directory = (b"PK\1\2" + bytes(42)) * count
    end = struct.pack("<4H2LH", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), 0, 0)
    path.write_bytes(directory + b"PK\5\6" + end)


def keras_bombs(folder):
    """Run directories, by name, each with a hostile model.keras."""
    import keras
    from hostile import KerasFile

    import vaezoo

    def another(name):
        run = folder / name
        run.mkdir()
        (run / "recipe.yaml").write_text("")
        return run / "model.keras"

    network = {"encoder": {"name": "mlp", "hidden": [4, 4]}, "decoder": {"name": "mlp", "hidden": [4]}}
    model = vaezoo.create_model("mlp_vae", (8, 8, 1), latent_dim=2, **network)
    model.compile(keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "good.keras")

    def spoilt(name, edit):
        file = KerasFile(folder / "good.keras")
        edit(file)
        file.write(another(name))

    def layers(file):
        return file.config["config"]["encoder"]["config"]["layers"]

    def wide(units):
        def edit(file):
            for layer in layers(file):
                if layer["class_name"] == "Dense":
                    layer["config"]["units"] = units

        return edit

    def large_input(file):
        layers(file)[0]["config"]["batch_shape"] = [None, 10**6, 10**6, 1]
        for layer in layers(file):
            layer.pop("build_config", None)

    def many_layers(file):
        layers(file).extend([layers(file)[2]] * 2_000)

    def claimed_weights(file):
        del file["encoder/layers/dense/vars/0"]
        file["encoder/layers/dense/vars"].create_dataset("0", (10**6, 10**6), "f4", chunks=(64, 4))

    def wide_critic(file):
        objective = {"module": "vaezoo.objectives", "class_name": "FactorELBO", "registered_name": "vaezoo>FactorELBO"}
        file.config["config"]["objective"] = {**objective, "config": {"hidden": [30_000, 30_000]}}

    zip_of_zeros(another("zip"), dict.fromkeys(["config.json", "metadata.json", "model.weights.h5"], b""))
    zip_of_names(another("names"))
    spoilt("wide", wide(30_000))
    spoilt("very_wide", wide(10**12))
    spoilt("large_input", large_input)
    spoilt("wide_critic", wide_critic)
    spoilt("many_layers", many_layers)
    spoilt("deep", lambda file: setattr(file, "config", json.loads("[" * 900 + "]" * 900)))
    spoilt("lists", lambda file: setattr(file, "config", [[]] * 500_000))
    spoilt("claimed_weights", lambda file: file.edit_weights(claimed_weights))
    return [folder / path.parent.name for path in sorted(folder.glob("*/model.keras"))]


def data_bombs(folder):
    """Data sets by path."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (5000, 900, 900)})
    zip_of_zeros(folder / "zeros.npz", {"images.npy": header.getvalue(), "labels.npy": header.getvalue()})
    with zipfile.ZipFile(folder / "claimed.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    (folder / "claimed.npy").write_bytes(header.getvalue())

    def chunk(kind, content):
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    def png(name, width, height, more=b""):
        (folder / name).mkdir()
        header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0))
        pixels = chunk(b"IDAT", zlib.compress(bytes(10**7)))
        for number in range(10):
            (folder / name / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + more + pixels)

    png("pixels", 60_000, 60_000)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))
    png("text", 8, 8, text * 3)
    return [folder / name for name in ("zeros.npz", "claimed.npz", "claimed.npy", "pixels", "text")]


RECIPES = (  # each passes the schema, and asks for too large a model
    ("mlp_vae", "model.encoder.hidden=[65536, 65536]"),
    ("mlp_vae", "model.objective={name: factor, hidden: [65536, 65536]}"),
    ("conv_vae", "model.encoder.filters=[65536, 65536]"),
    ("beta_vae", "model.encoder.filters=[65536]", "model.encoder.dense=65536"),
    ("mlp_vae_2d", "model.latent_dim=65536", "model.posterior=full_normal"),
)


def peak():
    """The largest resident memory since the last call, in megabytes."""
    used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(used.split()[1]) / 1024


def explode(folder):
    """Try every bomb; print the result of each as JSON."""
    import resource

    from vaezoo.cli import main

    images = folder / "good.npy"
    np.save(images, np.random.default_rng(0).random((40, 8, 8), "float32"))
    commands = [["sample", str(run), "-n", "1"] for run in keras_bombs(folder)]
    commands += [["train", "mlp_vae", "--data", str(path)] for path in data_bombs(folder)]
    for recipe, *assignments in RECIPES:
        overrides = [part for assignment in assignments for part in ("--set", assignment)]
        commands.append(["train", recipe, "--data", str(images), "--set", "training.batch_size=4", *overrides])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (6 * GIB, hard))  # a bomb that is not refused must not stop the machine
    results = []
    for command in commands:
        peak()
        before, started, said = peak(), time.process_time(), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = main(command)
        seconds = time.process_time() - started
        results.append({"command": " ".join(command), "code": code, "said": said.getvalue(), "seconds": seconds})
        results[-1]["megabytes"] = peak() - before
    print(json.dumps(results))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory from /proc, as on Linux")
@pytest.mark.slow
def test_bombs(tmp_path):
    done = subprocess.run([sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    assert len(results) == 20
    for result in results:
        assert result["code"] == 2, result
        assert result["said"].startswith("vaezoo: "), result
        assert result["said"].count("\n") == 1, result
        assert result["seconds"] < SECONDS, result
        assert result["megabytes"] < MEGABYTES, result


if __name__ == "__main__":
    explode(Path(sys.argv[1]))
