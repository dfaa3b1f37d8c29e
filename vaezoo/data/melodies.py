"""Tunes become windows of some bars, divided so that no tune of the test, and no version of it, is in training."""

import dataclasses

import numpy as np

from vaezoo.data.dataset import Data, name_classes
from vaezoo.data.indexed import ArraySplit
from vaezoo.data.split import FILE_ORDER, HELD_OUT
from vaezoo.errors import VaezooError, unknown
from vaezoo.music.duplicates import groups_of
from vaezoo.music.factors import factors_of
from vaezoo.music.tokens import CLASSES, FIRST, STEPS, sounding, windows_of
from vaezoo.spec import Spec

TRANSPOSITIONS = ("key", "none", "random")
LONGEST = 64  # bars of a window
TEST = 0.1  # the share of the tunes
NAMED = 6  # reasons in a note


@dataclasses.dataclass(frozen=True)
class Windows:
    """How tunes become examples.

    Attributes:
        bars: the length of a window, 1..64 bars of 16 sixteenths.
        transpose: "key" brings every tune to a signature without sharps and flats (C major, A minor, D dorian); "none"
            keeps it as it is written; "random" is "key" for evaluation, and moves each training window by -5..6
            semitones, drawn anew each time.

    Raises:
        VaezooError: for a value that is not allowed.
    """

    bars: int = 2
    transpose: str = "key"

    def __post_init__(self):
        if type(self.bars) is not int or not 1 <= self.bars <= LONGEST:
            raise VaezooError(f"bars is {self.bars!r}; it must be a whole number from 1 to {LONGEST}")
        if self.transpose not in TRANSPOSITIONS:
            raise unknown("transpose", self.transpose, TRANSPOSITIONS)


@dataclasses.dataclass(frozen=True)
class _Cut:
    """The windows of some tunes: tokens [N,T], and the number of the tune that each is from [N]."""

    tokens: np.ndarray
    tune: np.ndarray

    def only(self, kept):
        return _Cut(self.tokens[kept], self.tune[kept])


def make_melodies(name, tunes, labels, windows, validation, seed, group=None, given=None, notes=(), **more):
    """The Data of some tunes.

    Windows with a silent bar, or with fewer notes than bars, are left out. The splits are those of tunes: a tenth is
    held out for the test, the same for every seed, and versions of a tune are in the same split. A window of the
    validation or the test that is also in the training split is left out of them. The notes say how much was left out.

    Args:
        name: as given to load_data.
        tunes: `Tune`s.
        labels: the class of each, a list of texts; None without classes.
        windows: a `Windows`.
        validation: fraction of the training tunes to hold out.
        seed: chooses them.
        group: the groups of versions, as from `groups_of`; None to find them.
        given: the split of each tune [N]: 0 for training, 1 for the test, 2 for validation; None to hold out a tenth
            for the test. Without a 2, that fraction of training is held out for validation.
        notes: lines for the user that come first.
        **more: further fields of the Data.

    Returns:
        A Data of sequences [16 * bars]. The factors of a split are those of `factors_of`, and of the tune "mode"
        ("major" or "minor") and "metre" (one of METRES).

    Raises:
        VaezooError: if too few windows are left.
    """
    tunes = tunes if windows.transpose == "none" else [tune.in_natural_key() for tune in tunes]
    cut = _windows(tunes, windows.bars)
    group = groups_of(tunes) if group is None else group
    if given is None:
        test, rest = _held_out(group, np.ones(len(tunes), bool), TEST, seed=0)
    else:
        test, held, rest = given == 1, given == 2, given == 0
    if given is None or not held.any():
        held, rest = _held_out(group, rest, validation, seed)
    train = cut.only(rest[cut.tune])
    known = set(_fingerprints(train.tokens, windows))
    seen = np.array([each in known for each in _fingerprints(cut.tokens, windows)], bool)
    parts = {"train": train}
    dropped = {}
    for part, members in (("validation", held), ("test", test)):
        parts[part] = cut.only(members[cut.tune] & ~seen)
        dropped[part] = int((members[cut.tune] & seen).sum())
    if len(parts["train"].tokens) < 2 or not len(parts["test"].tokens):
        raise VaezooError(
            f"'{name}' has too few melodies of {windows.bars} bars: of {len(tunes):,} tunes, "
            f"{len(parts['train'].tokens):,} windows are left for training and {len(parts['test'].tokens):,} for the "
            "test; give more tunes, or fewer bars"
        )
    class_names, numbers = name_classes(None if labels is None else np.array(labels))
    spec = Spec("sequence", (STEPS * windows.bars,), CLASSES, len(class_names or ()), notation="melody")
    columns = {
        "mode": np.array([tune.key.mode for tune in tunes]),
        "metre": np.array([tune.metre for tune in tunes]),
    }

    def split(part):
        shuffled = part.only(np.random.default_rng([0, FILE_ORDER]).permutation(len(part.tokens)))
        factors = {**factors_of(shuffled.tokens), **{key: values[shuffled.tune] for key, values in columns.items()}}
        return ArraySplit(shuffled.tokens, spec, None if numbers is None else numbers[shuffled.tune], factors)

    if left_out := sum(tune.left_out for tune in tunes):
        notes = (*notes, f"left out {left_out:,} bars: of another length than their metre says, or in another metre")
    divided = "by group" if given is None else "as the folder is"
    note = (
        f"{len(tunes):,} tunes in {len(np.unique(group)):,} groups of versions, divided {divided}; {len(cut.tokens):,} "
        f"windows of {windows.bars} bars; left out since they occur in training: {dropped['validation']:,} of "
        f"validation, {dropped['test']:,} of test"
    )
    splits = {key: split(part) if len(part.tokens) else None for key, part in parts.items()}
    return Data(name, spec, **splits, class_names=class_names, notes=(*notes, note), **more)


def count_of_tunes(left_out):
    """A note on the tunes that are left out: a Counter of the reasons → a list of one line, or of none."""
    if not left_out:
        return []
    most = sorted(left_out.items(), key=lambda item: -item[1])
    named = ", ".join(f"{count:,} {reason}" for reason, count in most[:NAMED])
    return [f"left out {sum(left_out.values()):,} tunes: {named}{', ...' * (len(most) > NAMED)}"]


def _windows(tunes, bars):
    """The `_Cut` of all tunes."""
    tokens, origin = [np.zeros((0, STEPS * bars), "uint8")], [0]
    for tune in tunes:
        own = [windows_of(part, bars) for part in tune.parts]
        tokens += own
        origin.append(sum(map(len, own)))
    cut = _Cut(np.concatenate(tokens), np.repeat(np.arange(len(tunes)), origin[1:]))
    silent = sounding(cut.tokens).reshape(-1, bars, STEPS).max(-1, initial=0) == 0
    return cut.only(~silent.any(-1) & ((cut.tokens >= FIRST).sum(-1) >= bars))


def _held_out(group, among, share, seed):
    """Hold out complete groups with about that share of the tunes: (held out, the others of `among`), each bool [N]."""
    names, counts = np.unique(group[among], return_counts=True)
    order = np.random.default_rng([seed, HELD_OUT]).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    chosen = names[order[before < share * counts.sum()]]
    held = among & np.isin(group, chosen)
    return held, among & ~held


def _fingerprints(tokens, windows):
    """What makes windows the same, bytes for each: the tokens, without the key if they are transposed at random."""
    if windows.transpose == "random":
        first = np.where(tokens >= FIRST, tokens, 255).min(-1, keepdims=True)
        tokens = np.where(tokens >= FIRST, tokens - first + FIRST, tokens)
    return [row.tobytes() for row in tokens]
