"""Melodies as tokens, ABC text, MIDI files and sound: against tunes worked out by hand, and there and back again."""

import dataclasses
import io
import sys
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaezoo.errors import VaezooError
from vaezoo.music import CLASSES, FIRST, HIGHEST, HOLD, LOWEST, OFF, Note, name_of, notes_of, tokens_of
from vaezoo.music.abc import read_abc
from vaezoo.music.duplicates import groups_of
from vaezoo.music.factors import factors_of
from vaezoo.music.files import write_melody
from vaezoo.music.keys import Key, estimated_key, key_of
from vaezoo.music.midi import LARGEST, midi_bytes, read_midi
from vaezoo.music.sound import RATE, frequency, wav_bytes, waveform
from vaezoo.music.tokens import joined, sounding, transposed, windows_of
from vaezoo.music.tunes import UnusableTuneError, quantized

C4, D4, E4, F4, G4, A4, B4, C5 = 60, 62, 64, 65, 67, 69, 71, 72


def pitch_token(pitch):
    return FIRST + pitch - LOWEST


def tune(text, key="C", metre="4/4", unit="1/8"):
    """The only tune of an ABC text, of which the fields are added."""
    tunes, reasons = read_abc(f"X:1\nT:a tune\nM:{metre}\nL:{unit}\nK:{key}\n{text}\n")
    assert not reasons
    return tunes[0]


def notes(text, **fields):
    """The notes of the only part of a tune, each (start, length, pitch)."""
    (part,) = tune(text, **fields).parts
    return [tuple(note) for note in notes_of(part)]


def pitches(text, **fields):
    return [pitch for _, _, pitch in notes(text, **fields)]


# Tokens


@st.composite
def melodies(draw, most=6):
    """Notes that do not overlap, some with rests between them, in a number of bars."""
    bars, now, found = draw(st.integers(1, most)), 0, []
    while (start := now + draw(st.integers(0, 9))) < 16 * bars:
        length = draw(st.integers(1, min(20, 16 * bars - start)))
        found.append(Note(start, length, draw(st.integers(LOWEST, HIGHEST))))
        now = start + length
    return found, 16 * bars


@given(melodies())
def test_notes_and_tokens_are_each_other(melody):
    found, steps = melody
    tokens = tokens_of(found, steps)
    assert (tokens.shape, tokens.dtype) == ((steps,), "uint8")
    assert notes_of(tokens) == found
    np.testing.assert_array_equal(tokens_of(notes_of(tokens), steps), tokens)


def test_the_classes_are_those_of_music_vae():
    assert (HOLD, OFF, FIRST, LOWEST, HIGHEST, CLASSES) == (0, 1, 2, 21, 108, 90)
    tokens = tokens_of([Note(1, 2, C4), Note(3, 1, LOWEST), Note(5, 9, HIGHEST)], 8)
    assert tokens.tolist() == [HOLD, 41, HOLD, FIRST, OFF, CLASSES - 1, HOLD, HOLD]
    assert sounding(tokens).tolist() == [0, C4, C4, LOWEST, 0, HIGHEST, HIGHEST, HIGHEST]


def test_a_note_ends_where_the_next_begins_and_the_first_of_two_is_kept():
    assert notes_of(tokens_of([Note(0, 9, C4), Note(2, 1, D4), Note(2, 8, E4)], 8)) == [Note(0, 2, C4), Note(2, 1, D4)]
    assert notes_of([OFF, OFF, 41, OFF, OFF]) == [Note(2, 1, C4)]
    assert notes_of([]) == []


@pytest.mark.parametrize("note", [Note(0, 1, LOWEST - 1), Note(0, 1, HIGHEST + 1), Note(8, 1, C4), Note(-1, 1, C4)])
def test_notes_out_of_range_are_refused(note):
    with pytest.raises(ValueError, match=r"is not in 21\.\.108 and 0\.\.7"):
        tokens_of([note], 8)


@pytest.mark.parametrize("token", [-1, CLASSES])
def test_tokens_out_of_range_are_refused(token):
    with pytest.raises(ValueError, match=r"they must be in 0\.\.89"):
        notes_of([41, token])


def test_names_of_pitches():
    assert [name_of(pitch) for pitch in (21, 60, 61, 70, 108)] == ["A0", "C4", "C♯4", "B♭4", "C8"]


@given(melodies(), st.integers(1, 3))
def test_a_window_sounds_as_the_melody_does_there(melody, bars):
    found, steps = melody
    tokens = tokens_of(found, steps)
    windows = windows_of(tokens, bars)
    assert windows.shape == (max(steps // 16 - bars + 1, 0), 16 * bars)
    for number, window in enumerate(windows):
        np.testing.assert_array_equal(sounding(window), sounding(tokens)[16 * number : 16 * (number + bars)])
        assert window[0] != OFF


def test_joined_melodies_sound_as_each_alone():
    first, second = tokens_of([Note(0, 8, C4)], 8), tokens_of([Note(2, 6, D4)], 8)
    assert notes_of(joined([first, second, first])) == [Note(0, 8, C4), Note(10, 6, D4), Note(16, 8, C4)]


def test_transposition_moves_pitches_only():
    assert transposed(np.array([0, 1, 41, 50], "uint8"), -2).tolist() == [0, 1, 39, 48]


# Keys


@pytest.mark.parametrize(
    ("tonic", "mode", "sharps", "minor", "semitones"),
    [
        ("C", "", 0, False, 0),
        ("G", "", 1, False, 5),
        ("D", "major", 2, False, -2),
        ("Bb", "", -2, False, 2),
        ("F#", "m", 3, True, 3),
        ("E", "Minor", 1, True, 5),
        ("A", "Dorian", 1, True, 5),
        ("D", "Mix", 1, False, 5),
        ("G", "M", 1, False, 5),
        ("E", "phr", 0, True, 0),
        ("F", "lyd", 0, False, 0),
        ("Gb", "", -6, False, -6),
    ],
)
def test_keys(tonic, mode, sharps, minor, semitones):
    key = key_of(tonic, mode)
    assert key == Key(sharps, minor)
    assert key.to_natural == semitones
    assert key.mode == ("minor" if minor else "major")


@pytest.mark.parametrize(("tonic", "mode"), [("H", ""), ("B", "n"), ("C", "foo")])
def test_keys_that_do_not_exist(tonic, mode):
    with pytest.raises(ValueError, match="there is no key"):
        key_of(tonic, mode)


def test_the_key_of_a_scale_is_found_in_every_key():
    major, minor = np.zeros(12), np.zeros(12)
    major[[0, 2, 4, 5, 7, 9, 11]] = [5, 1, 3, 1, 3, 1, 1]
    minor[[0, 2, 3, 5, 7, 8, 10]] = [5, 1, 3, 1, 3, 1, 1]
    for tonic in range(12):
        for scale, is_minor, relative in ((major, False, 0), (minor, True, 3)):
            key = estimated_key(np.roll(scale, tonic))
            assert key.minor == is_minor
            assert (tonic + relative + key.to_natural) % 12 == 0
    assert estimated_key(np.zeros(12)) == Key(0, False)


# ABC


def test_lengths_and_octaves():
    assert notes("C,2 c' B,, z4 |") == [(0, 4, 48), (4, 2, 84), (6, 2, 47)]
    assert notes("C4 C/C/ C3/2 C/ z |") == [(0, 8, C4), (8, 1, C4), (9, 1, C4), (10, 3, C4), (13, 1, C4)]
    assert notes("C4/ C3/4 D// E/4 x3/4 |", unit="1/4") == [(0, 8, C4), (8, 3, C4), (11, 1, D4), (12, 1, E4)]


def test_the_unit_of_lengths_follows_from_the_metre():
    found, _ = read_abc("X:1\nM:C\nK:C\nC8|\nX:2\nM:2/4\nK:C\nC8|D8|\n")
    assert [[tuple(note) for note in notes_of(each.parts[0])] for each in found] == [
        [(0, 16, C4)],
        [(0, 8, C4), (8, 8, D4)],
    ]


def test_accidentals_last_to_the_bar_line_in_every_octave():
    assert pitches("^F F f =F F2 F2 | F _B2 B2 z3 |", key="C") == [66, 66, 78, 65, 65, 65, 65, 70, 70]
    assert pitches("F =F F ^^F __F F3 |", key="D") == [66, 65, 65, 67, 63, 63]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("D", [66, 61, 67]),
        ("Dm", [65, 60, 67]),
        ("Eb", [65, 60, 67]),
        ("A", [66, 61, 68]),
        ("Amix", [66, 61, 67]),
        ("E Dorian", [66, 61, 67]),
        ("C ^f", [66, 60, 67]),
        ("D =c clef=treble", [66, 60, 67]),
        ("Hp", [66, 61, 67]),
        ("HP", [65, 60, 67]),
        ("none", [65, 60, 67]),
        ("G % not the key of the book", [66, 60, 67]),
        ("Cb", [64, 59, 66]),
    ],
)
def test_key_signatures(key, found):
    assert pitches("F2 C2 G4 |", key=key) == found


def test_ties_join_notes_and_keep_accidentals_over_a_bar_line():
    assert notes("C4- C4- | C2 ^F2 F4- | F4 F4 |") == [
        (0, 20, C4), (20, 4, 66), (24, 16, 66), (40, 8, F4),
    ]  # fmt: skip
    assert notes("C4-D4 |") == [(0, 8, C4), (8, 8, D4)]  # a tie to another note is a slur
    assert notes("(C4 D4) |") == [(0, 8, C4), (8, 8, D4)]


def test_a_note_that_is_tied_out_of_a_bar_that_is_left_out_begins_at_the_bar_line():
    assert notes("G-|G A B c|", unit="1/4") == [(0, 4, G4), (4, 4, A4), (8, 4, B4), (12, 4, C5)]
    melody = tune("C8 | D4 ^F3- | F8- | F4 G4 | [M:3/4] A6- | [M:4/4] A8 |")
    assert [[tuple(note) for note in notes_of(part)] for part in melody.parts] == [
        [(0, 16, C4)],
        [(0, 24, 66), (24, 8, G4)],
        [(0, 16, A4)],
    ]
    # The short bar at the end of a section is filled with a rest, so that the note begins anew.
    assert notes("C8 | D6- || D8 |") == [(0, 16, C4), (16, 12, D4), (32, 16, D4)]


def test_broken_rhythm():
    assert notes("C>D C<D E > F z2 |") == [(0, 3, C4), (3, 1, D4), (4, 1, C4), (5, 3, D4), (8, 3, E4), (11, 1, F4)]
    assert notes("C2>>D2 C2<D2 |") == [(0, 7, C4), (7, 1, D4), (8, 2, C4), (10, 6, D4)]
    assert notes("C-C>{e}D z | C4 |", unit="1/4") == [(0, 10, C4), (10, 2, D4), (16, 16, C4)]


def test_tuplets_are_rounded_to_sixteenths():
    assert [start for start, _, _ in notes("(3CDE (3CDE z4 |")] == [0, 1, 3, 4, 5, 7]
    assert [start for start, _, _ in notes("(3C2D2E2 z4 |")] == [0, 3, 5]
    assert [start for start, _, _ in notes("(2CD (3:2:2E4F2 G/A/ |")] == [0, 3, 6, 11, 14, 15]


def test_of_notes_in_one_sixteenth_the_one_on_it_is_kept():
    assert notes("D//C//B,/ C z2 C4 |") == [(0, 1, D4), (1, 1, 59), (2, 2, C4), (8, 8, C4)]
    assert notes("C3D/E//F// G4 |") == [(0, 6, C4), (6, 1, D4), (7, 1, E4), (8, 8, G4)]


def test_the_highest_note_of_a_chord_is_taken():
    assert notes("[CEG]4 [C2e2]2 |") == [(0, 8, G4), (8, 8, 76)]


def test_what_is_no_note_is_left_out():
    text = '"Am"C !trill!D2 {efg}E ~F .G +fermata+A [K:C] `H T u v B | c8 | % a comment with ABC\nw: do re mi\n'
    assert pitches(text) == [C4, D4, E4, F4, G4, A4, B4, C5]


def test_repeats_are_read_once_and_of_endings_the_last():
    assert pitches("|: C8 |1 D8 :|2 E8 || F8 :|") == [C4, E4, F4]
    assert pitches("|: C8 |[1 D8 :| [2 E8 |]") == [C4, E4]
    assert pitches("C8 :: D8 :|") == [C4, D4]


def test_an_upbeat_and_the_bar_before_a_repeat_are_one_bar():
    melody = tune("G2 | C8 | D6 :: E2 | F8 | G6 |]")
    (part,) = melody.parts
    assert [tuple(note) for note in notes_of(part)] == [
        (0, 16, C4), (16, 12, D4), (28, 4, E4), (32, 16, F4), (48, 12, G4),
    ]  # fmt: skip
    assert (part[-4], melody.left_out, melody.bars) == (OFF, 0, 4)  # the last bar is filled with a rest


def test_a_missing_bar_line_at_the_end_of_a_line():
    assert [start for start, _, _ in notes("C8 | D8\nE8 | F4\nG4 | A8 |")] == [0, 16, 32, 48, 56, 64]


def test_a_bar_of_another_length_divides_a_tune():
    melody = tune("C8 | D8 | E4 F3 | G8 | A8 | B8 |")
    assert ([len(part) // 16 for part in melody.parts], melody.left_out) == ([2, 3], 1)
    assert len(tune("C8 | D8 E8 | F8 |").parts[0]) == 64  # twice as long is two


def test_a_metre_that_is_not_taken_divides_a_tune():
    melody = tune("C8 | [M:3/4] D6 | E6 | [M:C|] F8 |\nM:2/4\nG4 | A4 | B4 |")
    assert [[note.pitch for note in notes_of(part)] for part in melody.parts] == [[C4], [F4], [G4, A4]]
    assert (melody.metre, melody.left_out) == ("4/4", 2)


def test_the_first_of_several_voices():
    text = "V:1 name=a\nV:2\n[V:1] C8 | D8 |\n[V:2] c8 | d8 |\n[V:1] E8 |\n[V:2] e8 |"
    assert pitches(text) == [C4, D4, E4]
    assert pitches("C4 D4 & E4 F4 | G8 |") == [C4, D4, G4]


def test_rests_of_many_bars():
    assert notes("C8 | Z2 | D8 |") == [(0, 16, C4), (48, 16, D4)]


def test_a_tune_says_what_it_is():
    melody = tune("C8 | D8 |", key="Ador", metre="C|")
    assert (melody.title, melody.metre, melody.key, melody.bars) == ("a tune", "2/2", Key(1, True), 2)
    (part,) = melody.in_natural_key().parts
    assert [note.pitch for note in notes_of(part)] == [C4 + 5, D4 + 5]
    (part,) = tune("A,,,,8 |", key="D").in_natural_key().parts  # two semitones lower there is no key
    assert notes_of(part)[0].pitch == 21 - 2 + 12


def test_a_tune_without_a_key_gets_the_one_that_fits():
    melody = tune("D2 ^F2 A2 d2 | ^c2 A2 D4 |", key="none")
    assert melody.key == Key(2, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("M:6/8\nK:C\nC6|", "in 6/8"),
        ("M:none\nK:C\nC6|", "without a usual metre"),
        ("K:C\nC6|", "without a usual metre"),
        ("M:C\nC8|", "without a key"),
        ("M:C\nK:Bn\nC8|", "with a key that cannot be read"),
        ("M:C\nK:H\nC8|", "with a key that cannot be read"),
        ("M:C\nL:x\nK:C\nC8|", "with a length L: that cannot be read"),
        ("M:C\nL:1/8\nK:C\nC/0|", "with a length that cannot be read"),
        ("M:C\nK:C\n", "without notes"),
        ("M:C\nL:1/8\nK:C\nC7|", "without a complete bar"),
        ("M:C\nL:1/8\nK:C\nC8|C7|D7|E7|F8|", "with more wrong bars than right ones"),
        ("M:C\nL:1/8\nK:C\nc''''8|", "beyond the range of a piano"),
        ("M:C\nL:1/8\nK:C\n" + "Z9999|" * 2, "with more than 4,096 bars"),
        ("M:" + "9" * 500 + "\nK:C\nC8|", "without a usual metre"),
    ],
)
def test_tunes_that_cannot_be_used(text, reason):
    found, reasons = read_abc(f"X:1\nT:bad\n{text}\n\nX:2\nM:C\nL:1/8\nK:C\nC8|\n")
    assert len(found) == 1
    assert reasons == {reason: 1}


@given(st.text(alphabet="CDEabc ^_=,'/|:[]()<>-{}\"!&12389zZM:KL\n\\%~.", max_size=80))
def test_no_text_breaks_the_reader(text):
    found, reasons = read_abc(f"X:1\nM:4/4\nL:1/8\nK:C\n{text}")
    assert len(found) + sum(reasons.values()) >= 1
    for each in found:
        assert all(len(part) % 16 == 0 and part.max() < CLASSES for part in each.parts)


# MIDI


@pytest.fixture
def midi(tmp_path):
    """Writes a file of mido's messages, one list for each track, and returns its path."""
    mido = pytest.importorskip("mido")

    def write(*tracks, ticks=480, name="song.mid"):
        file = mido.MidiFile(ticks_per_beat=ticks)
        for messages in tracks:
            track = mido.MidiTrack()
            for kind, time, values in messages:
                make = mido.Message if kind in ("note_on", "note_off") else mido.MetaMessage
                track.append(make(kind, time=time, **values))
            file.tracks.append(track)
        file.save(tmp_path / name)
        return tmp_path / name

    return write


def played(*found, channel=0):
    """Messages of notes (start, length, pitch), in ticks."""
    events = [(start, 1, pitch) for start, _, pitch in found] + [
        (start + length, 0, pitch) for start, length, pitch in found
    ]
    messages, now = [], 0
    for at, on, pitch in sorted(events):
        values = {"note": pitch, "velocity": 64 * on, "channel": channel}
        messages.append(("note_on", at - now, values))
        now = at
    return messages


@given(melodies())
def test_a_written_midi_file_is_read_back(tmp_path_factory, melody):
    pytest.importorskip("mido")
    found, steps = melody
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    path.write_bytes(midi_bytes(tokens_of(found, steps), tempo=93))
    if not found:
        with pytest.raises(UnusableTuneError, match="without notes"):
            read_midi(path)
        return
    read = read_midi(path)
    assert read.metre == "4/4"
    assert notes_of(read.parts[0]) == found


def test_the_highest_note_of_the_busiest_voice_is_taken(midi):
    drums = played(*[(120 * n, 60, 40) for n in range(50)], channel=9)
    bass = played((0, 960, 36), (960, 960, 38))
    chords = played((0, 480, C4), (0, 480, G4), (480, 480, E4), (600, 360, C4), (960, 960, F4), (970, 400, C5))
    read = read_midi(midi(drums, bass, chords))
    assert [tuple(note) for note in notes_of(read.parts[0])] == [(0, 4, G4), (4, 4, E4), (8, 3, C5)]
    assert read.title == "song"
    assert read.polyphonic
    assert not read_midi(midi(drums, played((0, 480, C4), (480, 480, C4)))).polyphonic


def test_legato_is_no_chord(midi):
    read = read_midi(midi(played((0, 500, C5), (480, 500, B4), (960, 480, A4))))
    assert [tuple(note) for note in notes_of(read.parts[0])] == [(0, 4, C5), (4, 4, B4), (8, 4, A4)]


def test_times_are_rounded_and_the_tempo_does_not_matter(midi):
    tempo = [("set_tempo", 0, {"tempo": 300_000}), ("set_tempo", 700, {"tempo": 900_000})]
    triplet = played((0, 160, C4), (160, 160, D4), (320, 160, E4), (490, 470, F4))
    read = read_midi(midi(tempo, triplet))
    assert [tuple(note) for note in notes_of(read.parts[0])] == [(0, 1, C4), (1, 2, D4), (3, 1, E4), (4, 4, F4)]


def test_a_note_that_is_played_early_belongs_to_the_bar_that_it_begins(midi):
    metre = [
        ("time_signature", 0, {"numerator": 4, "denominator": 4}),
        ("time_signature", 1920, {"numerator": 2, "denominator": 4}),
    ]
    early = played((0, 960, C4), (950, 940, D4), (1900, 500, E4), (2400, 475, F4))
    read = read_midi(midi(metre, early))
    assert [[tuple(note) for note in notes_of(part)] for part in read.parts] == [
        [(0, 8, C4), (8, 8, D4)],
        [(0, 4, E4), (4, 4, F4)],
    ]
    for length in (10, 600):  # the last note alone is in the second bar
        read = read_midi(midi(played((0, 1900, C4), (1900, length, D4))))
        assert [note.start for note in notes_of(read.parts[0])] == [0, 16]
        assert read.bars == 2
    assert read_midi(midi(played((0, 960, C4), (960, 980, D4)))).bars == 1  # released a little late
    read = read_midi(midi(metre, played((0, 960, C4), (1900, 15, D4))))  # and nothing after the second metre begins
    assert [tuple(note) for note in notes_of(read.parts[0])][-1][:2] == (16, 1)


def test_metres_that_are_not_taken_are_left_out(midi):
    metre = [
        ("time_signature", 0, {"numerator": 2, "denominator": 4}),
        ("time_signature", 1920, {"numerator": 3, "denominator": 4}),
        ("time_signature", 960, {"numerator": 2, "denominator": 2}),
    ]
    read = read_midi(midi(metre, played((0, 1920, C4), (1920, 960, D4), (4800, 480, E4), (6720, 480, F4))))
    assert [[tuple(note) for note in notes_of(part)] for part in read.parts] == [
        [(0, 16, C4)],
        [(16, 4, E4), (32, 4, F4)],
    ]
    assert (read.metre, read.left_out) == ("2/4", 1)
    with pytest.raises(UnusableTuneError, match=r"^in 3/4$"):
        read_midi(midi([("time_signature", 120, {"numerator": 3, "denominator": 4})], played((240, 480, C4))))


def test_the_key_is_that_of_the_file_or_the_one_that_fits(midi):
    scale = played(*[(480 * n, 480, pitch) for n, pitch in enumerate((62, 66, 69, 74, 73, 69, 66, 62))])
    assert read_midi(midi(scale)).key == Key(2, False)
    assert read_midi(midi([("key_signature", 0, {"key": "Bm"})], scale)).key == Key(2, True)


def test_files_that_are_no_midi(midi, tmp_path):
    good = midi(played((0, 480, C4))).read_bytes()
    bad = {
        "that cannot be read": [b"", b"no music", good[:30], good.replace(b"MTrk", b"XXXX")],
        "without notes": [midi([], name="empty.mid").read_bytes()],
        r"in seconds \(SMPTE\)": [good[:12] + b"\xe7\x28" + good[14:]],
        r"\(type 2\)": [good[:8] + b"\x00\x02" + good[10:]],
        "larger than 1 MiB": [good + bytes(LARGEST)],
        "with more than 4,096 bars": [midi(played((0, 2**27, C4), (2**27, 4, D4))).read_bytes()],
    }
    for reason, contents in bad.items():
        for content in contents:
            (tmp_path / "bad.mid").write_bytes(content)
            with pytest.raises(UnusableTuneError, match=reason):
                read_midi(tmp_path / "bad.mid")


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(VaezooError, match=r"not installed: pip install 'vaezoo\[music\]'"):
        read_midi(tmp_path / "a.mid")


# Sound


@pytest.mark.parametrize("pitch", [33, 57, 60, 69, 88, 105])
def test_the_strongest_frequency_is_that_of_the_pitch(pitch):
    sound = waveform(tokens_of([Note(0, 16, pitch)], 16), tempo=60)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert np.argmax(spectrum) * RATE / len(sound) == pytest.approx(frequency(pitch), abs=0.5)
    assert frequency(69) == 440


def test_sound_is_normalised_and_has_no_clicks():
    tokens = tokens_of([Note(0, 3, C4), Note(3, 5, 100), Note(9, 6, C4)], 16)
    sound = waveform(tokens, tempo=100)
    assert (sound.dtype, np.abs(sound).max()) == ("float32", pytest.approx(0.8))
    assert len(sound) == pytest.approx((16 * 0.15 + 0.09) * RATE, abs=2)
    assert np.abs(sound[[0, -1]]).max() < 1e-3
    # A click is a jump where a note begins: there the sound goes on as before.
    begins = round(3 * 0.15 * RATE)
    assert np.abs(np.diff(sound[begins - 2 : begins + 3])).max() < 0.05


def test_silence_stays_silent():
    assert not waveform(np.zeros(16, "uint8")).any()


def test_a_wav_file():
    with wave.open(io.BytesIO(wav_bytes(tokens_of([Note(0, 4, C4)], 16), tempo=120))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.getnframes() / RATE == pytest.approx(2.09, abs=0.01)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.abs(samples.astype(int)).max() == pytest.approx(0.8 * 32767, abs=2)


def test_a_melody_becomes_two_files(tmp_path):
    tokens = tokens_of([Note(0, 4, C4)], 16)
    paths = write_melody(tmp_path / "sample-0.8", tokens)
    assert [path.name for path in paths] == ["sample-0.8.mid", "sample-0.8.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample-0.8.mid", "sample-0.8.wav"]
    assert paths[0].read_bytes() == midi_bytes(tokens)
    for bad, message in (({"tempo": 5}, "tempo is 5"), ({"tokens": [90]}, "must be in 0")):
        with pytest.raises(VaezooError, match=message):
            write_melody(tmp_path / "bad", **{"tokens": tokens, **bad})
    with pytest.raises(VaezooError, match="cannot write"):
        write_melody(tmp_path / "nowhere" / "a", tokens)


# Factors and versions


def test_factors():
    rising = tokens_of([Note(4 * n, 4, C4 + n) for n in range(8)], 32)
    still = tokens_of([Note(0, 32, C4)], 32)
    found = factors_of(np.stack([rising, still]))
    assert found["density"].tolist() == [4, 0.5]
    assert found["range"].tolist() == [7, 0]
    steps = np.arange(32)
    assert found["contour"].tolist() == pytest.approx([16 * np.polyfit(steps, steps // 4, 1)[0], 0], abs=1e-5)
    backwards = tokens_of([Note(4 * n, 4, C4 - n) for n in range(8)], 32)
    assert factors_of(backwards[None])["contour"][0] == -found["contour"][0]
    assert {values.dtype.name for values in found.values()} == {"float32"}


def random_tune(seed, count=48):
    letters = np.random.default_rng(seed).choice(list("CDEFGABcdefg"), count)
    return "|".join("".join(letters[start : start + 8]) for start in range(0, count, 8)) + "|"


def test_versions_of_a_tune_are_found():
    first, other = random_tune(0), random_tune(1)
    tunes = [
        tune(first),
        tune(other),
        tune(first, metre="2/4", unit="1/16"),  # another metre
        tune(first, key="C").in_natural_key(),
        tune(other[:27] + first[27:]),  # shares a half with both
        tune(random_tune(2)),
    ]
    tunes.append(dataclasses.replace(tunes[5], parts=tuple(transposed(part, -4) for part in tunes[5].parts)))
    group = groups_of(tunes)
    assert group.tolist() == [0, 0, 0, 0, 0, 5, 5]
    assert groups_of(tunes[:2]).tolist() == [0, 1]
    assert groups_of([]).tolist() == []


def test_quantized_times_stay_in_the_range():
    assert quantized([(0.4, 0.2, C4), (1.6, 9, D4), (40, 1, E4)], 16).tolist()[:3] == [
        pitch_token(C4),
        OFF,
        pitch_token(D4),
    ]
    with pytest.raises(UnusableTuneError):
        quantized([(0, 1, 3)], 16)
