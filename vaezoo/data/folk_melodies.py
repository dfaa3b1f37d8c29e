"""folk_melodies: folk tunes in ABC out of the user's own installation of music21, prepared once."""

import collections
import importlib.util
import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds

from vaezoo.data import tfds_sets
from vaezoo.data.melodies import count_of_tunes, make_melodies
from vaezoo.errors import VaezooError, unknown
from vaezoo.music.abc import read_abc
from vaezoo.music.duplicates import groups_of
from vaezoo.music.keys import Key
from vaezoo.music.tokens import STEPS
from vaezoo.music.tunes import METRES, Tune

# Folder of music21's corpus → name of the class.
COLLECTIONS = {
    "folk": {"airdsAirs": "Aird", "oneills1850": "O'Neill", "ryansMammoth": "Ryan"},
    "essen": {"essenFolksong": "Essen"},
}
TERMS = {
    "folk": "tunes of printed collections of 1782 to 1903, as ABC files that come with music21",
    "essen": "the legal status of the Essen collection is unclear; its use in music21 is permitted for non-commercial "
    "purposes only: see corpus/essenFolksong/license.txt of music21",
}


class FolkMelodies(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Folk tunes of music21, as tokens in complete bars; only metres that 16 sixteenths fit."""

    name = "folk_melodies"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "First release."}  # noqa: RUF012  the form that tfds asks for
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, description=text) for name, text in TERMS.items()]  # noqa: RUF012

    @classmethod
    def prepared(cls, config):
        """The builder, with the tunes on disk; they are read from music21 if they are not there yet."""
        builder = tfds_sets.place(lambda folder: cls(data_dir=folder, config=config))
        if not builder.data_path.exists():
            corpus()
            print(f"vaezoo: reading {cls.name} from music21 (once) into {builder.data_path}", file=sys.stderr)
            tfds_sets.prepare(builder)
        return builder

    def _info(self):
        features = {
            "tokens": tfds.features.Sequence(np.uint8),
            "bars": tfds.features.Sequence(np.int64),  # of each part
            "title": tfds.features.Text(),
            "collection": tfds.features.ClassLabel(names=sorted(COLLECTIONS[self.builder_config.name].values())),
            "metre": tfds.features.ClassLabel(names=list(METRES)),
            "minor": np.bool_,
            "sharps": np.int64,
            "transposition": np.int64,  # semitones to a signature without sharps and flats
            "left_out": np.int64,  # bars
            "group": np.int64,  # the number of the first of its versions
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.__doc__} {self.builder_config.description}",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        left_out, tunes, labels = collections.Counter(), [], []
        for folder, collection in COLLECTIONS[self.builder_config.name].items():
            for path in sorted((corpus() / folder).glob("*.abc")):
                found, reasons = read_abc(path.read_text(encoding="utf-8", errors="replace"))
                left_out += reasons
                tunes += found
                labels += [collection] * len(found)
        self.info.metadata["left_out"] = dict(left_out)
        for number, (tune, label, group) in enumerate(zip(tunes, labels, groups_of(tunes), strict=True)):
            row = {
                "tokens": np.concatenate(tune.parts),
                "bars": [len(part) // STEPS for part in tune.parts],
                "title": tune.title,
                "collection": label,
                "metre": tune.metre,
                "minor": tune.key.minor,
                "sharps": tune.key.sharps,
                "transposition": tune.key.to_natural,
                "left_out": tune.left_out,
                "group": group,
            }
            yield number, row


def corpus():
    """The folder of music21's tunes, found without importing music21.

    Raises:
        VaezooError: if music21 is not installed.
    """
    found = importlib.util.find_spec("music21")
    folder = found and pathlib.Path(found.origin).parent / "corpus"
    if not folder or not folder.is_dir():
        raise VaezooError(
            "folk_melodies reads the tunes that come with music21, which is not installed: pip install 'vaezoo[music]'"
        )
    return folder


def load(name, preparation, windows, validation, seed):
    """The Data of "folk_melodies" or "folk_melodies/essen"; see load_data and `make_melodies`.

    The label is the collection.
    """
    _, _, config = name.partition("/")
    config = config or "folk"
    if config not in COLLECTIONS:
        raise unknown("configuration of 'folk_melodies'", config, COLLECTIONS)
    builder = FolkMelodies.prepared(config)
    names = {key: builder.info.features[key].names for key in ("collection", "metre")}
    columns = next(iter(builder.as_dataset(split="train").ragged_batch(builder.info.splits["train"].num_examples)))
    columns = {key: column.numpy() for key, column in columns.items()}
    tunes = []
    for number, tokens in enumerate(columns["tokens"]):
        title, metre = columns["title"][number].decode(), names["metre"][columns["metre"][number]]
        key = Key(int(columns["sharps"][number]), bool(columns["minor"][number]))
        parts = np.split(tokens, np.cumsum(columns["bars"][number])[:-1] * STEPS)
        tunes.append(Tune(title, metre, key, tuple(parts), int(columns["left_out"][number])))
    labels = [names["collection"][label] for label in columns["collection"]]
    notes = [TERMS[config], *count_of_tunes(builder.info.metadata.get("left_out", {}))]
    data = make_melodies(name, tunes, labels, windows, validation, seed, group=columns["group"], notes=notes)
    if preparation.image_size is not None:
        data.spec.require_image(f"image_size={preparation.image_size} (instead of None)")
    return data
