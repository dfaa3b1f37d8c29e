"""Arrays from strangers: what is legal though unusual is read, all else is refused in one line."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
from hostile import refusal

from vaezoo.data import load_data

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3)).astype("uint8")  # no two alike


def npy(header, content=b"", version=(1, 0)):
    """The bytes of an .npy file with that header, true or not."""
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    size = struct.pack("<H", len(text)) if version == (1, 0) else struct.pack("<L", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + content


def described(shape, descr="'|u1'", order=False):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def written(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


class Trap:
    """What makes a folder where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("vaezoo_was_here",)


TRAP = np.array([Trap()] * 20, dtype=object)

HOSTILE = {
    "objects": written(TRAP, allow_pickle=True),
    "objects in a structure": npy(described((20,), "[('a', '|O')]"), b"x" * 999),
    "more claimed than there is": npy(described((10**9, 28, 28))),
    "a shape beyond all memory": npy(described((10**12, 10**6, 10**6))),
    "a negative shape": npy(described((-20, 4, 6)), b"x" * 480),
    "a shape of floats": npy(described((20.0, 4, 6)), b"x" * 480),
    "a shape that is a list": npy(described([20, 4, 6]), b"x" * 480),
    "10^9 times nothing": npy(described((10**9, 0))),
    "10^9 images of nothing": npy(described((10**9, 0, 4))),
    "no dimension at all": written(np.array(3)),
    "a header that calls": npy("__import__('os').mkdir('vaezoo_was_here')"),
    "a header that never ends": npy("{" * 5_000),
    "an unclosed header": npy("{'descr': ("),
    "a header longer than the file": b"\x93NUMPY\x02\x00" + struct.pack("<L", 2**31),
    "a huge header": npy(described((20, 4, 6)) + " " * 1_000_000, version=(2, 0)),
    "a version that does not exist": npy(described((20, 4, 6)), version=(9, 9)),
    "an unknown type": npy(described((20, 4, 6), "'|Z9'")),
    "text": written(np.full((20, 4, 4), "a")),
    "times": written(np.zeros((20, 4, 4), "M8[s]")),
    "complex numbers": written(np.zeros((20, 4, 4), complex)),
    "NaN": written(np.full((20, 4, 4), np.nan, "float16")),
    "negative integers": written(np.full((20, 4, 4), -1, "int8")),
    "64 bits": written(np.full((20, 4, 4), 2**63, "uint64")),
    "floats above 1": written(np.full((20, 4, 4), 255.0)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_hostile_array_is_refused_in_one_line(content, suffix, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"images{suffix}"
    if suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)
    assert str(path) in refusal(capsys, "train", "mlp_vae", "--data", path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def archive(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


GOOD = written(IMAGES)
ARCHIVES = {
    "pickled images": archive({"images.npy": written(TRAP, allow_pickle=True)}),
    "pickled labels": archive({"images.npy": GOOD, "labels.npy": written(TRAP, allow_pickle=True)}),
    "a bare pickle": archive({"images": b"\x80\x04cos\nmkdir\n(S'vaezoo_was_here'\ntR."}),
    "members that lead out": archive({"../images.npy": GOOD, "/tmp/images.npy": GOOD}),
    "thousands of members": archive({str(number): b"" for number in range(3_000)}),
    "nothing": archive({}),
    "cut short": archive({"images.npy": GOOD})[:-50],
    "a flipped bit": archive({"images.npy": GOOD}).replace(IMAGES.tobytes()[:9], b"vaezoo!!!"),
    "an array, not an archive": GOOD,
    "too many labels": archive({"images.npy": GOOD, "labels.npy": written(np.arange(10**6))}),
    "labels without a shape": archive({"images.npy": GOOD, "labels.npy": written(np.array(1))}),
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_refused_in_one_line(content, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "images.npz"
    path.write_bytes(content)
    assert str(path) in refusal(capsys, "train", "mlp_vae", "--data", path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_pipes_and_devices_are_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for name in ("pipe.npy", "zero.npy"):
        assert "is neither a folder nor" in refusal(capsys, "train", "mlp_vae", "--data", tmp_path / name)


def spread(array):
    """The same array, in memory with gaps."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


UNUSUAL = {
    "Fortran order": np.asfortranarray(IMAGES),
    "16 bits, the other way round": IMAGES.astype(">u2"),
    "64 bits, the other way round": IMAGES.astype(">i8"),
    "with gaps": spread(IMAGES),
    "floats of 16 bits": (IMAGES / 255).astype("float16"),
    "floats the other way round": (IMAGES / 255).astype(">f8"),
    "floats of 80 bits": (IMAGES / 255).astype("longdouble"),
    "floats in Fortran order": np.asfortranarray(IMAGES / 255),
}


@pytest.mark.parametrize("array", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("limit", [2**30, 100], ids=["held", "streamed"])
def test_an_unusual_array_is_read(array, suffix, limit, tmp_path):
    path = tmp_path / f"images{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez_compressed(path, images=array)
    plain = tmp_path / "plain.npy"
    np.save(plain, IMAGES)
    read, expected = (load_data(file, validation=0, memory_limit=limit) for file in (path, plain))
    np.testing.assert_allclose(
        read.train.first(99)[0], expected.train.first(99)[0], atol=1e-3 if array.itemsize == 2 else 1e-6
    )


def test_a_memory_mapped_file_is_not_changed(tmp_path):
    path = tmp_path / "images.npy"
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype="uint8", shape=IMAGES.shape)
    mapped[:] = IMAGES
    mapped.flush()
    before = path.read_bytes()
    assert load_data(path, memory_limit=100).train.first(5)[0].shape == (5, 4, 6, 3)
    assert path.read_bytes() == before


def test_an_archive_that_unpacks_to_more_than_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.data.arrays.NPZ_LIMIT", 1000)
    np.savez_compressed(tmp_path / "images.npz", images=IMAGES)
    with pytest.raises(ValueError, match=r"unpacks to 0\.0 GiB"):
        load_data(tmp_path / "images.npz", memory_limit=1000)
    assert len(load_data(tmp_path / "images.npz", memory_limit=2**20, validation=0).train) == 18
