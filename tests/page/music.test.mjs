import assert from "node:assert/strict";
import test from "node:test";
import { frequency, notesOf, tokensOf } from "../../vaezoo/explorer/page/music.mjs";
import { pitchRange } from "../../vaezoo/explorer/page/paint.mjs";

test("a note is held, ended by OFF or by the next note, and by the end", () => {
  assert.deepEqual(notesOf([0, 41, 0, 1, 0, 43, 45, 0]), [
    { start: 1, pitch: 60, length: 2 },
    { start: 5, pitch: 62, length: 1 },
    { start: 6, pitch: 64, length: 2 },
  ]);
  assert.deepEqual(notesOf([1, 0, 1]), []);
});

test("tokens, or the most probable ones", () => {
  assert.deepEqual(tokensOf(Int32Array.of(3, 0, 1), 3), [3, 0, 1]);
  assert.deepEqual(tokensOf(Float32Array.of(0.1, 0.2, 0.7, 0.5, 0.3, 0.2), 2), [2, 0]);
});

test("equal temperament", () => {
  assert.equal(frequency(69), 440);
  assert.ok(Math.abs(frequency(60) - 261.6256) < 1e-4);
});

test("the range of pitches has a margin", () => {
  assert.deepEqual(pitchRange([[41, 0], [48, 1]]), [58, 69]);
  assert.deepEqual(pitchRange([[0, 1]]), [48, 84]);
});
