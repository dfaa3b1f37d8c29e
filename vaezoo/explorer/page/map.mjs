// The map: the codes of test examples as points, or what each place decodes to, and above them the point that is shown.

import { ellipse, screenOf } from "./plane.mjs";

export const SIDE = 20; // pictures along each side of the map

const MOST_NAMES = 12; // names of classes that are written on the map
const APART = 16; // pixels between two names

/** Places of the pictures on the map, from the middle outwards: {row, column, place}. */
export function cells({ centre, half }) {
  const found = [];
  for (let row = 0; row < SIDE; row += 1) {
    for (let column = 0; column < SIDE; column += 1) {
      const [x, y] = [(2 * column + 1) / SIDE - 1, 1 - (2 * row + 1) / SIDE];
      found.push({ row, column, place: [centre[0] + x * half, centre[1] + y * half], from: x * x + y * y });
    }
  }
  return found.sort((a, b) => a.from - b.from);
}

/** Round numbers on an axis from low to high, about five. */
export function ticks(low, high) {
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= raw);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

export class PlaneMap {
  constructor(ground, above, plane, points) {
    [this.ground, this.above, this.plane, this.points] = [ground, above, plane, points];
    this.tiles = document.createElement("canvas");
    this.resize();
  }

  resize() {
    this.size = this.ground.clientWidth;
    const ratio = globalThis.devicePixelRatio || 1;
    for (const canvas of [this.ground, this.above]) {
      [canvas.width, canvas.height] = [this.size * ratio, this.size * ratio];
      canvas.getContext("2d").scale(ratio, ratio);
    }
    this.screen = screenOf(this.plane, this.size);
  }

  /** The place under a pointer. */
  place(event) {
    const box = this.above.getBoundingClientRect();
    return this.screen.place(((event.clientX - box.left) / box.width) * this.size, ((event.clientY - box.top) / box.height) * this.size);
  }

  /** Put one picture into the map, as RGBA bytes. */
  putTile({ row, column }, bytes, [height, width]) {
    if (this.tiles.width !== width * SIDE) [this.tiles.width, this.tiles.height] = [width * SIDE, height * SIDE];
    this.tiles.getContext("2d").putImageData(new ImageData(bytes, width, height), column * width, row * height);
  }

  /** Paint what lies below: `mode` is "points", "pictures" or "both"; `focus` is a class, or null for all. */
  paint({ mode, colours, values, names, focus, ink }) {
    const context = this.ground.getContext("2d");
    context.clearRect(0, 0, this.size, this.size);
    if (mode !== "points") {
      context.globalAlpha = mode === "both" ? 0.55 : 1;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.tiles, 0, 0, this.size, this.size);
      context.globalAlpha = 1;
    } else this.paintAxes(context, ink);
    if (mode === "pictures") return;
    const radius = this.size > 500 ? 2.6 : 1.9;
    this.points.forEach((point, index) => {
      const [x, y] = this.screen.pixels(point);
      context.globalAlpha = focus === null || values?.[index] === focus ? 0.82 : 0.07;
      context.fillStyle = colours ? colours[index] : ink.accent;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
    if (names && names.length <= MOST_NAMES && mode === "points") this.paintNames(context, names, values, focus, ink);
  }

  paintAxes(context, { line, muted, family }) {
    const { centre, half } = this.plane;
    Object.assign(context, { strokeStyle: line, fillStyle: muted, lineWidth: 1, font: `11px ${family}` });
    ["u", "v"].forEach((_, axis) => {
      for (const tick of ticks(centre[axis] - half, centre[axis] + half)) {
        const place = axis ? [centre[0], tick] : [tick, centre[1]];
        const at = Math.round(this.screen.pixels(place)[axis]) + 0.5;
        context.globalAlpha = tick === 0 ? 1 : 0.45;
        context.beginPath();
        context.moveTo(axis ? 0 : at, axis ? at : 0);
        context.lineTo(axis ? this.size : at, axis ? at : this.size);
        context.stroke();
        context.globalAlpha = 1;
        const text = String(tick).replace("-", "−");
        if (at > 24 && at < this.size - 24) context.fillText(text, axis ? 7 : at + 4, axis ? at - 5 : this.size - 8);
      }
    });
  }

  paintNames(context, names, values, focus, { ink, paper, family }) {
    const middle = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
    Object.assign(context, { font: `600 15px ${family}`, textAlign: "center", textBaseline: "middle" });
    Object.assign(context, { lineWidth: 4, lineJoin: "round", strokeStyle: paper, fillStyle: ink });
    const written = [];
    names.forEach((name, index) => {
      const own = this.points.filter((_, i) => values[i] === index);
      if (!own.length || (focus !== null && focus !== index)) return;
      const [x, y] = this.screen.pixels([middle(own.map((each) => each[0])), middle(own.map((each) => each[1]))]);
      if (written.every((each) => Math.hypot(each.x - x, each.y - y) >= APART)) written.push({ name, x, y });
    });
    if (focus === null && written.length < names.length / 2) written.length = 0; // mixed: no class has a place of its own
    for (const { name, x, y } of written) {
      context.strokeText(name, x, y);
      context.fillText(name, x, y);
    }
    Object.assign(context, { textAlign: "start", textBaseline: "alphabetic" });
  }

  /** Paint what lies above: the point, the kept point, the way between two examples, and q(z|x). */
  paintAbove({ place, kept, path, posterior, ink }) {
    const context = this.above.getContext("2d");
    context.clearRect(0, 0, this.size, this.size);
    const { accent, paper } = ink;
    if (path) {
      const [from, to] = path.map(this.screen.pixels);
      context.setLineDash([2, 5]);
      Object.assign(context, { strokeStyle: ink.ink, lineWidth: 2, lineCap: "round" });
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
      context.setLineDash([]);
      for (const end of [from, to]) this.dot(context, end, 4, ink.ink, paper);
    }
    if (posterior) {
      const { major, minor, angle } = ellipse(posterior.covariance);
      const [x, y] = this.screen.pixels(posterior.place);
      Object.assign(context, { strokeStyle: accent, fillStyle: accent, lineWidth: 1.5 });
      for (const [deviations, alpha] of [[2, 0.1], [1, 0.18]]) {
        const axes = [major, minor].map((each) => Math.max(each * deviations * this.screen.scale, 1));
        context.beginPath();
        context.ellipse(x, y, ...axes, -angle, 0, 2 * Math.PI);
        context.globalAlpha = alpha;
        context.fill();
        context.globalAlpha = 0.9;
        context.stroke();
      }
      context.globalAlpha = 1;
    }
    if (kept) this.ring(context, this.screen.pixels(kept), accent);
    this.dot(context, this.screen.pixels(place), 7, accent, paper);
  }

  dot(context, [x, y], radius, colour, edge) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: colour, strokeStyle: edge, lineWidth: 2.5 });
    context.fill();
    context.stroke();
  }

  ring(context, [x, y], colour) {
    context.beginPath();
    context.arc(x, y, 8, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 });
    context.stroke();
  }
}
