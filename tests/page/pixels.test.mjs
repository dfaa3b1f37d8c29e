import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import test from "node:test";
import { colouring, lightness, ramp, visible } from "../../vaezoo/explorer/page/colours.mjs";
import { bytesOf, interleaved, unpacked } from "../../vaezoo/explorer/page/packing.mjs";
import { inked, shrunk } from "../../vaezoo/explorer/page/pad.mjs";
import { rgba } from "../../vaezoo/explorer/page/paint.mjs";

/** 15 bits in each character, by way of a text of zeros and ones. */
function packed(bytes) {
  const bits = [...bytes].map((each) => each.toString(2).padStart(8, "0")).join("");
  return bits.match(/.{1,15}/g).map((each) => String.fromCharCode(0x3400 + parseInt(each.padEnd(15, "0"), 2))).join("");
}

test("text → bytes, for every length", () => {
  for (let size = 1; size < 40; size += 1) {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 151 + size * 13) & 255);
    assert.deepEqual(bytesOf(packed(bytes), size), bytes);
  }
});

test("a packed text is decompressed, and the bytes of its numbers come together again", async () => {
  const apart = Uint8Array.of(1, 3, 5, 2, 4, 6);
  assert.deepEqual([...interleaved(apart, 2)], [1, 2, 3, 4, 5, 6]);
  const squeezed = gzipSync(apart);
  assert.deepEqual([...(await unpacked(packed(squeezed), squeezed.length, 2))], [1, 2, 3, 4, 5, 6]);
});

test("grey and colours as RGBA", () => {
  assert.deepEqual([...rgba([0, 0.5], [1, 2, 1])], [0, 0, 0, 255, 128, 128, 128, 255]);
  assert.deepEqual([...rgba([1, 0.2, 0], [1, 1, 3])], [255, 51, 0, 255]);
});

test("a drawing is averaged over the pixels of the picture", () => {
  const bytes = new Uint8ClampedArray(4 * 4 * 4); // 4×4 → 2×2
  for (const [x, y] of [[0, 0], [1, 0], [0, 1], [1, 1], [2, 3]]) bytes[4 * (4 * y + x) + 3] = 255;
  assert.deepEqual([...shrunk(bytes, 2, 2, 2)], [1, 0, 0, 0.25]);
});

test("ink on dark paper and on light paper, binary or grey", () => {
  assert.deepEqual(inked([0, 0.25, 1], { paper: 0, threshold: false }), [0, 0.25, 1]);
  assert.deepEqual(inked([0, 0.25, 1], { paper: 1, threshold: false }), [1, 0.75, 0]);
  assert.deepEqual(inked([0.4, 0.6], { paper: 0, threshold: true }), [0, 1]);
  assert.deepEqual(inked([0.4, 0.6], { paper: 1, threshold: true }), [1, 0]);
});

test("a dark colour is lightened on a dark background and left alone on a light one", () => {
  const light = (rgb) => rgb.match(/\d+/g).map(Number).reduce((a, b) => a + b);
  assert.equal(visible("#332288", false), "rgb(51 34 136)");
  assert.ok(light(visible("#332288", true)) > light(visible("#332288", false)) + 100);
  assert.ok(lightness("#ffffff") > 0.999 && lightness("#000000") === 0);
});

test("the ramp goes from one end to the other, and stays there", () => {
  assert.equal(ramp(0), ramp(-5));
  assert.equal(ramp(1), ramp(5));
  assert.equal(ramp(0), "rgb(68 1 84)");
  assert.equal(ramp(1), "rgb(253 231 37)");
});

test("points are coloured by class or by a number", () => {
  const classes = colouring({ names: ["a", "b", "c"], values: [2, 0] }, ["#0077BB", "#BD1F01"], false);
  assert.deepEqual(classes.colours, [classes.legend[2], classes.legend[0]]);
  assert.equal(classes.legend[2], classes.legend[0]); // the palette repeats
  const graded = colouring({ names: null, values: [0, 5, 10] }, [], false);
  assert.deepEqual(graded.limits, [0, 10]);
  assert.deepEqual(graded.colours, [0, 0.5, 1].map(ramp));
  assert.equal(colouring({ names: null, values: [3, 3] }, [], true).colours[0], ramp(0));
});
