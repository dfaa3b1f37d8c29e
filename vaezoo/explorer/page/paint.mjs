// What a decoder gives, on a canvas: a picture, or a melody as a piano roll.

import { notesOf } from "./music.mjs";

/** Numbers in [0, 1], [H*W*C] → RGBA bytes. */
export function rgba(values, [height, width, channels]) {
  const out = new Uint8ClampedArray(height * width * 4).fill(255);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    for (let c = 0; c < 3; c += 1) out[4 * pixel + c] = Math.round(255 * values[pixel * channels + (channels < 3 ? 0 : c)]);
  }
  return out;
}

/** Paint a picture pixel by pixel; the style of the canvas says how large it is shown. */
export function paintPicture(canvas, values, shape) {
  const [height, width] = shape;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(rgba(values, shape), width, height), 0, 0);
}

/** The pitches that melodies use, with a margin: [lowest, highest]. */
export function pitchRange(melodies) {
  const pitches = melodies.flatMap((tokens) => notesOf(tokens).map((note) => note.pitch));
  return pitches.length ? [Math.min(...pitches) - 2, Math.max(...pitches) + 2] : [48, 84];
}

/** Paint a melody as a piano roll; `at` is the step that sounds, or null. */
export function paintRoll(canvas, tokens, [low, high], { ink, line, accent }, at = null) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 96, canvas.clientHeight || 48].map((size) => Math.round(size * ratio));
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const [step, row] = [width / tokens.length, height / (high - low + 1)];
  context.fillStyle = line;
  for (let beat = 0; beat <= tokens.length; beat += 4) {
    const bar = beat % 16 === 0;
    if (bar || width > 300 * ratio) context.fillRect(Math.round(beat * step), 0, (bar ? 1.5 : 0.5) * ratio, height);
  }
  for (const { start, length, pitch } of notesOf(tokens)) {
    context.fillStyle = at !== null && at >= start && at < start + length ? accent : ink;
    const thick = Math.max(row - ratio, 2 * ratio);
    context.beginPath();
    const long = Math.max(length * step - ratio, ratio);
    context.roundRect(start * step + ratio / 2, (high - pitch) * row, long, thick, Math.min(thick / 2.5, 4 * ratio));
    context.fill();
  }
  if (at !== null) {
    context.fillStyle = accent;
    context.fillRect(Math.min(at, tokens.length) * step, 0, ratio, height);
  }
}
