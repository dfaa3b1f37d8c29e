"""A reader of ABC, the text format of folk tunes (the standard 2.1, abcnotation.com): one melody of a tune, in bars.

What is read: the fields X T M L K V, also inline and in the middle of a tune; notes, octaves, accidentals until the
bar line (for every octave, as the standard says), key signatures with modes and explicit accidentals, lengths, broken
rhythm, ties, tuplets, rests, and chords, of which the highest note is taken. Repeats are read once, as the last pass
plays them: of several endings the last. Of several voices the first is read. Grace notes, slurs, decorations, chord
symbols, words and overlays are left out.
"""

import collections
import dataclasses
import re

import numpy as np

from vaezoo.music.keys import SHARPS, TONES, Key, estimated_key, key_of
from vaezoo.music.tokens import STEPS
from vaezoo.music.tunes import METRES, MOST_BARS, Tune, UnusableTuneError, quantized

# Times are in so many parts of a sixteenth: every usual tuplet and broken rhythm is a whole number of them.
_PARTS = 2**6 * 3**2 * 5 * 7
_LENGTH = r"\d{0,4}(?:/+\d{0,4})?"
_NOTE = rf"(\^\^?|__?|=)?([A-Ga-g])([,']*)({_LENGTH})"
_MUSIC = re.compile(
    rf"""
      "[^"]{{0,200}}" | !\w[^!\s]{{0,40}}! | \+\w[^+\s]{{0,40}}\+ | \{{[^}}]{{0,200}}\}} | &[^|]*  # skipped
    | \[(?P<field>[A-Za-z]):(?P<value>[^\]]{{0,200}})\]
    | (?P<bar>:*\[?\|[|\]:]*|::+)(?P<after>\d[\d,-]*)?
    | \[\s*(?P<ending>\d[\d,-]*)
    | \[(?P<chord>[^\]|]{{0,200}})\](?P<chord_length>{_LENGTH})
    | \((?P<tuplet>[2-9])(?::(?P<time>\d?)(?::(?P<count>\d?))?)?
    | (?P<note>{_NOTE})
    | (?P<rest>[zxZX])(?P<rest_length>{_LENGTH})
    | (?P<broken>>{{1,3}}|<{{1,3}})
    | (?P<tie>-)
    """,
    re.VERBOSE,
)
_IN_CHORD = re.compile(_NOTE)
_FIELD = re.compile(r"([A-Za-z]):(.*)")
_KEY = re.compile(r"([A-G])\s?([#b]?)\s*([A-Za-z]*)")
_NO_KEY = re.compile(r"\b(?:clef|middle|octave|transpose|stafflines|shift)=\S*|\b(?:treble|bass|alto|tenor)\S*")
_SHIFT = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_METRES = {"C": "4/4", "C|": "2/2"}
_IN_TIME_OF = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # notes of a tuplet → notes in whose time they are played


def read_abc(text):
    """The tunes of an ABC file that can be used.

    Args:
        text: the content of the file.

    Returns:
        (a list of `Tune`s, a Counter of the reasons why others are left out).
    """
    head, *tunes = re.split(r"^X:", text.replace("\r\n", "\n").replace("\r", "\n"), flags=re.MULTILINE)
    if not tunes and re.search(r"^K:", head, re.MULTILINE):
        head, tunes = "", ["\n" + head]  # a tune without a number
    found, reasons = [], collections.Counter()
    for tune in tunes:
        try:
            found.append(_Reader(head).read(tune))
        except UnusableTuneError as error:
            reasons[str(error)] += 1
    return found, reasons


@dataclasses.dataclass
class _Bar:
    """What lies between two bar lines; times are in parts of a sixteenth.

    Attributes:
        notes: [start in the bar, length, pitch, whether a tie over the bar line leads to it] each.
        length: the sum of what is in it.
        metre: as it is written.
        ends: whether a double bar or a repeat follows.
    """

    notes: list
    length: int
    metre: str
    ends: bool


class _Reader:
    """Reads one tune. `head` is the text before the first tune of a file, with fields for all of them."""

    def __init__(self, head):
        self.title, self.key, self.estimated = "", None, False
        self.unit, self.signature = None, {}
        self.bars, self.ending = [], None
        self.voice, self.heard = None, True
        self.metre = None
        for line in head.splitlines():
            if (field := _FIELD.match(line)) and field[1] in "ML":
                self._field(field[1], field[2].strip())
        self._begin_bar()
        self._forget()

    def read(self, text):
        """The `Tune` of the text after "X:"."""
        for line in text.splitlines()[1:]:
            if self.key and not line.strip():
                break  # an empty line ends a tune
            line = re.sub(r"(?<!\\)%.*", "", line).strip()
            field = _FIELD.match(line)
            if field and not (self.key and re.match(r".:[|:]", line)):  # a note before a repeat is no field
                self._field(field[1], field[2].strip())
            elif self.key:
                self._line(line)
        if not self.key:
            raise UnusableTuneError("without a key")
        self._end_bar(ends=True)
        return self._tune()

    def _field(self, name, value):
        match name:
            case "T" if not self.title:
                self.title = value
            case "M":
                self.metre = _METRES.get(value.strip(), value.replace(" ", "")) or "none"
            case "L":
                self.unit = self._fraction(value)
            case "K":
                self._set_key(value)
            case "V" if self.key:
                voice = value.split()[0] if value.split() else ""
                self.voice = self.voice or voice
                self.heard = voice == self.voice

    def _fraction(self, text):
        match = re.match(r"(\d{1,2})(?:/(\d{1,3}))?", text.replace(" ", ""))
        value = match and int(match[1]) * 16 * _PARTS // max(int(match[2] or 1), 1)
        if not value:
            raise UnusableTuneError("with a length L: that cannot be read")
        return value

    def _set_key(self, value):
        value = _NO_KEY.sub("", value).strip()
        self.estimated = self.estimated or (not self.key and (not value or value.lower() == "none"))
        if value[:2] in ("HP", "Hp"):  # the Highland pipes: A mixolydian, with its two sharps written or not
            key, rest = Key(2, False), "" if value[1] == "p" else "=f=c"
        elif not value or value.lower() == "none":
            key, rest = Key(0, False), ""
        else:
            match = _KEY.match(value)
            try:
                key = key_of(match[1] + match[2], match[3])
            except (TypeError, ValueError):
                raise UnusableTuneError("with a key that cannot be read") from None
            rest = value[match.end() :]
        letters = SHARPS[: max(key.sharps, 0)] if key.sharps >= 0 else SHARPS[key.sharps :]
        self.signature = dict.fromkeys(letters, 1 if key.sharps > 0 else -1)
        for accidental, letter in re.findall(r"(\^\^?|__?|=)\s?([A-Ga-g])", rest):
            self.signature[letter.upper()] = _SHIFT[accidental]
        self.key = self.key or key

    def _line(self, line):
        if self.unit is None:
            self.unit = _PARTS * (1 if self._is_short() else 2)
        for found in _MUSIC.finditer(line):
            match found.lastgroup:
                case "value":
                    self._field(found["field"], found["value"].strip())
                case _ if not self.heard:
                    continue
                case "bar" | "after":
                    self._end_bar(ends=found["bar"] != "|")
                    if found["after"]:
                        self._begin_ending(found["after"])
                case "ending":
                    self._end_bar(ends=True)
                    self._begin_ending(found["ending"])
                case "chord_length":
                    self._chord(found["chord"], self._length(found["chord_length"]))
                case "tuplet" | "time" | "count":
                    self._begin_tuplet(*(int(found[part] or 0) for part in ("tuplet", "time", "count")))
                case "note":
                    *spelling, length = _IN_CHORD.fullmatch(found["note"]).groups()
                    self._add(self._pitch(*spelling), self._length(length), tuple(spelling[1:]))
                case "rest_length":
                    self._rest(found["rest"], found["rest_length"])
                case "broken":
                    self._break(found["broken"])
                case "tie":
                    self.tied = self.tieable
        if not line.endswith("\\") and self.time and self._whole() and self.time % self._whole() == 0:
            self._end_bar(ends=False)  # some leave out the bar line at the end of a line

    def _is_short(self):
        """Whether the metre is below 3/4, so that the unit of lengths is a sixteenth."""
        match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", self.metre or "")
        return bool(match) and 4 * int(match[1]) < 3 * int(match[2])

    def _whole(self):
        """The length of a bar, or None for a metre that is not taken."""
        return _whole(self.metre)

    def _length(self, text):
        """A length such as "3/2", "/", "//" or ""."""
        over, slash, under = text.partition("/")
        slashes, under = len(slash) + under.count("/"), under.lstrip("/")
        divisor = int(under) if under else 2**slashes
        if not divisor or slashes > 6:
            raise UnusableTuneError("with a length that cannot be read")
        return self.unit * int(over or 1) // divisor

    def _pitch(self, accidental, letter, octave):
        name = letter.upper()
        if accidental:
            self.accidentals[name] = _SHIFT[accidental]
        shift = self.accidentals.get(name, self.signature.get(name, 0))
        octaves = octave.count("'") - octave.count(",") + letter.islower()
        return 60 + TONES[name] + shift + 12 * octaves

    def _chord(self, inside, length):
        notes = [match.groups() for match in _IN_CHORD.finditer(inside)]
        if not notes:
            return
        pitch, spelling = max((self._pitch(*spelling), spelling[1:]) for *spelling, _ in notes)
        self._add(pitch, self._length(notes[0][3]) * length // self.unit, tuple(spelling))
        if "-" in inside:
            self.tied = self.tieable

    def _rest(self, letter, length):
        if letter.islower():
            self._add(None, self._length(length), None)
            return
        if self._whole() is None:
            return
        self._end_bar(ends=False)
        for _ in range(min(int(length) if length.isdecimal() else 1, MOST_BARS)):
            self.bars.append(_Bar([], self._whole(), self.metre, False))
            self._check()

    def _add(self, pitch, length, spelling):
        """A note, or a rest of pitch None; its letter and octave say whether a tie leads to it."""
        (times, among), self.factor = self.factor, (1, 1)
        length = length * times // among
        if self.left:
            (times, among), self.left = self.tuplet, self.left - 1
            length = length * times // among
        tied = pitch is not None and self.tied is not None and self.tied[1] == spelling
        if tied and self.time:
            self.note = self.tied[0]
            self.note[1] += length
        else:
            self.note = [self.time, length, self.tied[0][2] if tied else pitch, tied]
            if pitch is not None:
                self.notes.append(self.note)
        self.time, self.last = self.time + length, length
        self.tied, self.tieable = None, (self.note, spelling) if pitch is not None else None

    def _begin_tuplet(self, notes, time, count):
        compound = bool(re.match(r"(6|9|12)/", self.metre or ""))
        time = time or _IN_TIME_OF.get(notes, 3 if compound else 2)
        self.tuplet, self.left = (time, notes), count or notes

    def _break(self, signs):
        """Broken rhythm: one of the notes beside it gets what the other loses."""
        if self.note is None:
            return
        among = 2 ** len(signs)
        here, after = (2 * among - 1, 1) if signs[0] == ">" else (1, 2 * among - 1)
        self.factor = after, among
        change = self.last * here // among - self.last
        self.note[1] += change
        self.time += change

    def _begin_bar(self):
        self.notes, self.time, self.accidentals = [], 0, {}
        self.note, self.factor = None, (1, 1)

    def _forget(self):
        """No tie and no tuplet is open."""
        self.tied = self.tieable = None
        self.tuplet, self.left, self.last = (1, 1), 0, 0

    def _end_bar(self, ends):
        if self.time:
            self.bars.append(_Bar(self.notes, self.time, self.metre, ends))
            self._check()
        elif self.bars and ends:
            self.bars[-1].ends = True
        self._begin_bar()

    def _check(self):
        if len(self.bars) > MOST_BARS:
            raise UnusableTuneError(f"with more than {MOST_BARS:,} bars")

    def _begin_ending(self, numbers):
        """At an ending: those before it are not played in the last pass."""
        if "1" in re.split("[,-]", numbers):
            self.ending = len(self.bars)
        elif self.ending is not None:
            del self.bars[self.ending :]
            self._forget()

    def _tune(self):
        metres = [bar.metre for bar in self.bars if bar.metre in METRES]
        if not self.bars:
            raise UnusableTuneError("without notes")
        if not metres:
            usual = re.fullmatch(r"\d{1,2}/\d{1,2}", self.bars[0].metre or "")
            raise UnusableTuneError(f"in {usual[0]}" if usual else "without a usual metre")
        runs, left_out = _runs(self.bars)
        parts = tuple(filter(len, (_tokens(run) for run in runs)))
        if not parts:
            raise UnusableTuneError("without a complete bar")
        if left_out > sum(map(len, runs)):
            raise UnusableTuneError("with more wrong bars than right ones")
        key = self.key
        if self.estimated:
            durations = np.zeros(12)
            for bar in self.bars:
                for _, length, pitch, _ in bar.notes:
                    durations[pitch % 12] += length
            key = estimated_key(durations)
        return Tune(self.title, metres[0], key, parts, left_out)


def _whole(metre):
    """The length of a bar, or None for a metre that is not taken."""
    return METRES[metre] * _PARTS if metre in METRES else None


def _runs(bars):
    """(lists of complete bars that follow each other, the number of bars that fit nowhere).

    Two short bars that make one, as at a repeat with an upbeat, become one. A short bar at the end of a section is
    filled with a rest. An upbeat that completes no bar is left out.
    """
    runs, left_out, number, starts = [[]], 0, 0, True
    while number < len(bars):
        bar, after = bars[number], bars[number + 1] if number + 1 < len(bars) else None
        whole = _whole(bar.metre)
        if runs[-1] and runs[-1][-1].metre != bar.metre:
            runs.append([])
        if whole and bar.length % whole == 0:
            runs[-1].append(bar)
        elif whole and after and after.metre == bar.metre and bar.length + after.length == whole:
            rest = [[start + bar.length, *note] for start, *note in after.notes]
            runs[-1].append(_Bar(bar.notes + rest, whole, bar.metre, after.ends))
            bar, number = after, number + 1
        elif whole and bar.length < whole and bar.ends and not starts:
            runs[-1].append(_Bar(bar.notes, whole, bar.metre, True))
        else:
            upbeat = starts and whole and bar.length < whole
            left_out += not upbeat
            runs.append([])
        starts, number = bar.ends, number + 1
    return runs, left_out


def _tokens(run):
    """Complete bars → tokens uint8 [16 * n]. Half a bar at the end, from an odd number of bars of 2/4, is left out.

    A tie lengthens the note before. Where that is left out, the note begins at the bar line.
    """
    notes, time = [], 0
    for bar in run:
        for start, length, pitch, tied in bar.notes:
            if tied and notes and sum(notes[-1][:2]) == time + start:
                notes[-1][1] += length
            else:
                notes.append([time + start, length, pitch])
        time += bar.length
    bars = time // (_PARTS * STEPS)
    return quantized([(start / _PARTS, length / _PARTS, pitch) for start, length, pitch in notes], bars * STEPS)
