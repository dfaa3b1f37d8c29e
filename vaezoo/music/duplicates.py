"""Tunes that are versions of each other: folk tunes return under other names, in other keys and in other metres."""

import collections

import numpy as np

from vaezoo.music.tokens import FIRST

NOTES = 10  # that follow each other: a phrase of so many intervals and one more is rarely shared by chance
SHARE = 0.1  # of the phrases of the shorter tune: two tunes with more in common are versions of each other
COMMONPLACE = 100  # tunes: what so many have in common, as a scale, says nothing


def phrases_of(tune):
    """Every sequence of NOTES intervals in a `Tune`, a set: independent of key, rhythm and metre."""
    found = set()
    for part in tune.parts:
        pitches = part[part >= FIRST].astype("int8")
        steps = np.diff(pitches)
        found.update(steps[start : start + NOTES].tobytes() for start in range(len(steps) - NOTES + 1))
    return found


def groups_of(tunes):
    """Divide tunes into groups of versions of each other.

    Two tunes that share SHARE of the phrases of the shorter one belong to a group, and so do tunes that both belong
    with a third.

    Args:
        tunes: N `Tune`s.

    Returns:
        int64 [N], the number of the group of each: that of its first tune.
    """
    phrases = [phrases_of(tune) for tune in tunes]
    owners = collections.defaultdict(list)
    for number, own in enumerate(phrases):
        for phrase in own:
            owners[phrase].append(number)
    shared = collections.Counter()
    for those in owners.values():
        if 1 < len(those) <= COMMONPLACE:
            shared.update((a, b) for place, b in enumerate(those) for a in those[:place])
    group = list(range(len(tunes)))

    def first_of(number):
        while group[number] != number:
            group[number] = number = group[group[number]]
        return number

    for (a, b), count in shared.items():
        if count >= SHARE * min(len(phrases[a]), len(phrases[b])):
            low, high = sorted((first_of(a), first_of(b)))
            group[high] = low
    return np.array([first_of(number) for number in range(len(tunes))], "int64")
