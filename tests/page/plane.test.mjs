import assert from "node:assert/strict";
import test from "node:test";
import { between, ellipse, moved, nearest, onPlane, project, screenOf, spread } from "../../vaezoo/explorer/page/plane.mjs";
import { SIDE, cells, ticks } from "../../vaezoo/explorer/page/map.mjs";

const close = (a, b, error = 1e-6) => assert.ok(Math.abs(a - b) <= error, `${a} is not ${b}`);
const third = Math.sqrt(1 / 3);
const plane = { origin: [1, -2, 0.5], directions: [[third, third, third], [Math.SQRT1_2, -Math.SQRT1_2, 0]], centre: [0.5, -1], half: 2 };

test("a code is moved to its place, and only along the plane", () => {
  const z = Float32Array.of(0.3, 0.7, -1.1);
  const there = moved(plane, z, [1.5, -0.25]);
  project(plane, there).forEach((each, i) => close(each, [1.5, -0.25][i]));
  const normal = [1, 1, -2]; // at right angles to both directions
  const along = there.reduce((sum, each, i) => sum + (each - z[i]) * normal[i], 0);
  close(along, 0);
});

test("the plane goes through its origin", () => {
  onPlane(plane, [0, 0]).forEach((each, i) => close(each, plane.origin[i]));
});

test("with one latent, the second direction changes nothing", () => {
  const line = { origin: [0], directions: [[1], [0]] };
  assert.deepEqual([...moved(line, [0.5], [2, 7])], [2]);
});

test("the spread of independent latents is that of their sum along each direction", () => {
  const [uu, uv, vv] = spread(plane, { scale: [1, 2, 3] });
  close(uu, (1 + 4 + 9) / 3);
  close(vv, (1 + 4) / 2);
  close(uv, (1 - 4) * third * Math.SQRT1_2);
});

test("a lower triangular matrix and its covariance have the same spread", () => {
  const tril = [1, 0, 0, 0.5, 2, 0, -1, 0.3, 0.7];
  const covariance = (i, j) => [0, 1, 2].reduce((sum, k) => sum + tril[3 * i + k] * tril[3 * j + k], 0);
  const form = (a, b) => [0, 1, 2].reduce((sum, i) => sum + [0, 1, 2].reduce((s, j) => s + a[i] * covariance(i, j) * b[j], 0), 0);
  const [first, second] = plane.directions;
  const found = spread(plane, { scale_tril: tril });
  [form(first, first), form(first, second), form(second, second)].forEach((each, i) => close(found[i], each));
  assert.equal(spread(plane, { loc: [0, 0, 0] }), null);
});

test("the axes of an ellipse are those of a turned normal", () => {
  const [c, s] = [Math.cos(0.4), Math.sin(0.4)];
  const { major, minor, angle } = ellipse([9 * c * c + s * s, 8 * c * s, 9 * s * s + c * c]);
  close(major, 3);
  close(minor, 1);
  close(angle, 0.4);
});

test("pixels and places are each other's reverse, and up is up", () => {
  const screen = screenOf(plane, 400);
  assert.deepEqual(screen.pixels([0.5, -1]), [200, 200]);
  assert.deepEqual(screen.pixels([2.5, 1]), [400, 0]);
  screen.place(...screen.pixels([1.7, -2.2])).forEach((each, i) => close(each, [1.7, -2.2][i]));
});

test("between two codes", () => {
  assert.deepEqual([...between([0, 2], [4, -2], 0)], [0, 2]);
  assert.deepEqual([...between([0, 2], [4, -2], 0.25)], [1, 1]);
  assert.deepEqual([...between([0, 2], [4, -2], 1)], [4, -2]);
});

test("the nearest point", () => {
  assert.equal(nearest([[0, 0], [1, 1], [3, 0]], [1.9, 0.6]), 1);
});

test("every cell of the map once, the middle first, the first row above", () => {
  const found = cells(plane);
  assert.equal(new Set(found.map(({ row, column }) => `${row} ${column}`)).size, SIDE * SIDE);
  assert.ok(Math.abs(found[0].row - SIDE / 2) <= 1);
  const corner = found.find(({ row, column }) => row === 0 && column === 0);
  close(corner.place[0], 0.5 - 2 + 2 / SIDE);
  close(corner.place[1], -1 + 2 - 2 / SIDE);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks(-3.1, 3.9), [-2, 0, 2]);
  assert.deepEqual(ticks(0.02, 0.11), [0.02, 0.04, 0.06, 0.08, 0.1]);
});
