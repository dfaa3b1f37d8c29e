"""Image sets of tensorflow-datasets by name: downloaded once, then read from disk."""

import contextlib
import io
import math
import os
import pathlib
import socket
import sys
import urllib.parse
import urllib.request

import numpy as np

from vaezoo.cache import cache_folder
from vaezoo.data.dataset import DRAWN, MELODIES, make_data
from vaezoo.data.records import FACTOR, RecordSplit
from vaezoo.errors import VaezooError, unknown
from vaezoo.spec import Spec

SIZE_OF_MIXED = (64, 64)  # of images that differ in size, unless another is asked for


def load(name, preparation, validation, seed, memory_limit):
    """The image set of that name, for example "mnist" or "emnist/letters"; see load_data."""
    builder = _builder(name)
    _check_images(builder, name)  # before anything is downloaded
    if not builder.data_path.exists():
        _check_network(builder)
        print(f"vaezoo: downloading {name} (once) into {builder.data_path}", file=sys.stderr)
        prepare(builder)
    return read(builder, name, preparation, validation, seed, memory_limit)


def is_name(name):
    """Whether tensorflow-datasets has a set of this name, of images or not."""
    import tensorflow_datasets as tfds

    return str(name).split("/")[0].split(":")[0] in tfds.list_builders(with_community_datasets=False)


def place(make):
    """The builder of a set, in the folder where the set is or can be written.

    That is the folder of tensorflow-datasets ($TFDS_DATA_DIR, else ~/tensorflow_datasets) if the set is there or can
    be written there, else `cache_folder()`.

    Args:
        make: folder → builder.
    """
    shared = _shared_folder()
    builder = make(shared)
    if builder.data_path.exists() or _writable(shared):
        return builder
    return make(cache_folder())


def prepare(builder):
    """Write a builder's set to disk, without output. If interrupted, no set is left: tfds renames it at the end."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except Exception as error:
        if builder.data_path.exists():  # another process was faster
            return
        raise VaezooError(
            f"'{builder.name}' could not be prepared in {builder.data_path}: {_first_line(error)}. Check the network "
            "and the disk, or set TFDS_DATA_DIR to a folder that already holds it."
        ) from error


def read(builder, name, preparation, validation, seed, memory_limit, factors=()):
    """The Data of a set that is on disk.

    Args:
        builder: of tensorflow-datasets, prepared.
        name: as given to load_data.
        preparation: a `Preparation`; without image_size, images that differ in size become 64×64.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: bytes of decoded images above which they are streamed.
        factors: names of scalar features to keep as known factors. An integer feature "label_NAME", as dsprites,
            shapes3d and smallnorb have, is one in any set: the factor "NAME".
    """
    import tensorflow_datasets as tfds

    features, splits = builder.info.features, builder.info.splits
    if str(builder.info.file_format.file_suffix) != "tfrecord":
        raise VaezooError(f"'{name}' is stored as {builder.info.file_format.file_suffix}: prepare it as tfrecord.")
    if "train" not in splits:
        raise VaezooError(f"'{name}' has no split 'train', only {', '.join(splits)}: it cannot be trained on.")
    height, width, channels = features["image"].shape
    notes = ()
    if preparation.image_size is None and None in (height, width):
        preparation = preparation.of_size(SIZE_OF_MIXED)
        notes = ("the images differ in size; each becomes {}×{}: data.image_size sets another".format(*SIZE_OF_MIXED),)
    label = "label" in features and features["label"]
    labelled = isinstance(label, tfds.features.ClassLabel) and not label.shape and bool(label.num_classes)
    factors = [*factors, *filter(lambda name: _is_factor(name, features[name]), features)]
    wanted = ["image", *(["label"] if labelled else []), *factors]
    shape = (*(preparation.image_size or (height, width)), channels or 3)
    spec = Spec("image", shape, classes=label.num_classes if labelled else 0)

    def split(name, bits):
        info = splits[name]
        return RecordSplit(
            files=info.filepaths,
            lengths=info.shard_lengths,
            features={name: features.tf_example_spec[name] for name in wanted},
            spec=spec,
            preparation=preparation if shape[:2] != (height, width) else None,
            record_bytes=info.num_bytes / max(info.num_examples, 1),
            # Four blocks are held at once (read ahead, shuffled, copied), and the model needs memory too.
            block_bytes=memory_limit / 8,
            bits=bits,
        )

    bits = split("train", bits=False).stored_as_bits()
    test = next((split(name, bits) for name in ("test", "validation") if name in splits), None)
    train = split("train", bits)
    if (len(train) + len(test or ())) * math.prod(shape) <= memory_limit:
        train, test = train.in_memory(), test and test.in_memory()
    class_names = tuple(label.names) if labelled else None
    more = {"image_size": preparation.image_size, "notes": notes}
    return make_data(name, train, test, class_names, validation, seed, **more)


def _is_factor(name, feature):
    """Whether a feature holds the index of a known factor: an integer for each image, called "label_..."."""
    return name.startswith(FACTOR) and feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)


def _builder(name):
    import tensorflow_datasets as tfds

    base, _, config = name.partition("/")
    if not is_name(name) and not (base and os.path.isdir(_shared_folder() / base)):  # nor the user's own prepared set
        names = [*tfds.list_builders(with_community_datasets=False), *DRAWN, MELODIES]
        hint = (
            f"Give {', '.join(DRAWN)}, {MELODIES}, an image set of tensorflow-datasets such as mnist, or a path to "
            "your own data."
        )
        raise unknown("data set", name, names, hint)
    try:
        return place(lambda folder: tfds.builder(name, data_dir=folder))
    except (AssertionError, ImportError, ValueError) as error:  # an unknown version or configuration, a missing library
        configs = list(tfds.builder_cls(base.split(":")[0]).builder_configs) if config else []
        if configs:
            raise unknown(f"configuration of '{base}'", config, configs) from None
        raise VaezooError(f"data set '{name}' cannot be used: {_first_line(error)}") from error


def _check_images(builder, name):
    import tensorflow_datasets as tfds

    features = builder.info.features
    image = "image" in features and features["image"]
    if not isinstance(image, tfds.features.Image):
        found = ", ".join(features)
        raise VaezooError(f"'{name}' has no feature 'image', only {found}: choose an image set, for example mnist.")
    if np.dtype(image.np_dtype) != np.uint8:
        raise VaezooError(f"the images of '{name}' are {np.dtype(image.np_dtype)}: only 8-bit images are supported.")


def _check_network(builder):
    """Fail at once if the source cannot be reached: tfds would retry for minutes."""
    if urllib.request.getproxies():  # the proxy resolves the name
        return
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos}
    for host in sorted(filter(None, hosts)):
        try:
            socket.getaddrinfo(host, 443)
        except OSError as error:
            raise VaezooError(
                f"'{builder.name}' is not on disk and {host} cannot be reached to download it ({error}). Check the "
                f"network, or set TFDS_DATA_DIR to a folder that already holds it; {', '.join(DRAWN)} need no download."
            ) from None


def _shared_folder():
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _writable(path):
    """Whether a file can be made in this folder, or in its nearest parent that exists."""
    while not path.exists():
        path = path.parent
    # The mode is checked too: for root, os.access calls everything writable.
    return path.is_dir() and os.access(path, os.W_OK) and bool(path.stat().st_mode & 0o222)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
