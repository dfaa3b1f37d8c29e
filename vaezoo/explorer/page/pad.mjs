// A canvas to draw on, and the picture of the model's size that it becomes.

const FINER = 10; // pixels of the canvas for one of the picture

/** Ink in RGBA bytes [H*F, W*F] → the share of ink in each pixel of the picture [H*W], from the opacity. */
export function shrunk(bytes, height, width, factor) {
  const ink = new Float32Array(height * width);
  for (let y = 0; y < height * factor; y += 1) {
    for (let x = 0; x < width * factor; x += 1) {
      ink[Math.floor(y / factor) * width + Math.floor(x / factor)] += bytes[4 * (y * width * factor + x) + 3];
    }
  }
  return ink.map((sum) => sum / (255 * factor * factor));
}

/** Ink → the picture that the encoder takes: on dark or light paper, of zeros and ones if the model was trained so. */
export function inked(ink, { paper, threshold }) {
  return ink.map((share) => {
    const value = paper ? 1 - share : share;
    return threshold ? Number(value > 0.5) : value;
  });
}

/** Let a canvas take strokes; `changed` gets the ink [H*W], or null after `clear`. */
export class Pad {
  constructor(canvas, [height, width], colour, changed) {
    [this.canvas, this.height, this.width, this.colour, this.changed] = [canvas, height, width, colour, changed];
    [canvas.width, canvas.height] = [width * FINER, height * FINER];
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.follow(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.end());
  }

  begin(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.follow(event);
  }

  follow(event) {
    if (!this.last) return;
    const strokes = event.getCoalescedEvents?.() ?? [];
    for (const each of strokes.length ? strokes : [event]) this.stroke(this.place(each));
    this.changed(this.ink());
  }

  end() {
    if (!this.last) return;
    this.last = null;
    this.changed(this.ink());
  }

  stroke(to) {
    Object.assign(this.context, { lineWidth: 0.08 * this.canvas.height, lineCap: "round", strokeStyle: this.colour });
    this.context.beginPath();
    this.context.moveTo(...this.last);
    this.context.lineTo(...to);
    this.context.stroke();
    this.last = to;
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.canvas.width, ((event.clientY - box.top) / box.height) * this.canvas.height];
  }

  ink() {
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    return shrunk(data, this.height, this.width, FINER);
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed(null);
  }
}
