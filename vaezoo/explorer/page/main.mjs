// The page: what it holds, what is shown, and what changes it.

import { unpacked } from "./packing.mjs";
import { started } from "./litert.mjs";
import { between, moved, nearest, onPlane, project, spread } from "./plane.mjs";
import { colouring, ramp } from "./colours.mjs";
import { play, tokensOf } from "./music.mjs";
import { paintPicture, paintRoll, pitchRange, rgba } from "./paint.mjs";
import { Pad, inked } from "./pad.mjs";
import { PlaneMap, cells } from "./map.mjs";

const STEPS = { image: 9, melody: 5 }; // examples shown between two
const BUDGET = 12; // milliseconds of a frame for the pictures of the map
const LARGEST_TILE = 128; // pixels; of larger pictures a map would take too long, and too much memory
const SPOKEN = 500; // milliseconds of rest before the place is read out

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { plane, points, latentDim } = data;
const isImage = data.kind === "image";

/** What the page holds in packed form, as bytes. */
async function bytesIn(name) {
  const holder = byId(`packed-${name}`);
  const bytes = await unpacked(holder.textContent, Number(holder.dataset.size), data.widths[name] ?? 1);
  holder.remove();
  return bytes;
}

/** An array [N,...] as its N rows. */
function rows(array, length) {
  return Array.from({ length: array.length / length }, (_, row) => array.slice(row * length, (row + 1) * length));
}

const state = {
  kept: Float32Array.from(plane.origin), // the code to come back to
  shown: Float32Array.from(plane.origin), // the code that is decoded
  label: 0,
  mode: "points",
  colouring: 0,
  focus: null, // a class, alone on the map
  ends: [0, 0], // examples
  next: 0, // the end that the next choice sets
  walking: false, // whether the way between them is on the map
  posterior: null,
  output: null, // of the last decode: numbers of a picture, or tokens
};

let networks, codes, examples, draws, map, pad, range, ink, coloured, stopMusic;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const number = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

// Networks

async function decode(z) {
  const { decode: network } = networks;
  const [output] = Object.values(await network.run({ z, label: Int32Array.of(state.label) }));
  return isImage ? output : tokensOf(output, data.shape[0]);
}

async function encode(picture) {
  return networks.encode.run({ image: picture, label: Int32Array.of(state.label) });
}

function paint(canvas, output, at = null) {
  if (isImage) paintPicture(canvas, output, data.shape);
  else paintRoll(canvas, output, range, ink, at);
}

// What is shown

let waiting = false;

/** Decode the code that is shown, once a frame at most, and paint it. */
function show() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(async () => {
    waiting = false;
    const z = state.shown;
    state.output = await decode(z);
    state.decoded = z;
    paint(byId("picture"), state.output);
    paintAbove();
    tell();
  });
}

/** Show a code for as long as the pointer is over it, or keep it. */
function go(z, keep = true) {
  state.shown = z;
  if (keep) state.kept = z;
  show();
}

function paintAbove() {
  const place = project(plane, state.shown);
  const kept = project(plane, state.kept);
  const path = state.walking ? state.ends.map((end) => project(plane, codes[end])) : null;
  map.paintAbove({ place, kept: state.kept === state.shown ? null : kept, path, posterior: state.posterior, ink });
}

function paintMap() {
  const { names, values } = data.colourings[state.colouring] ?? {};
  map.paint({ mode: state.mode, colours: coloured?.colours, names, values, focus: state.focus, ink });
}

let speaking = 0;

/** Say in words what is shown, and move the sliders there. */
function tell() {
  const z = state.shown;
  const [u, v] = project(plane, z);
  const rest = Math.hypot(...moved(plane, z, [0, 0]).map((each, i) => each - onPlane(plane, [0, 0])[i]));
  byId("code").textContent =
    latentDim <= 2
      ? `z = (${Array.from(z, (each) => number(each)).join(", ")})`
      : `at (${number(u)}, ${number(v)})${rest > 0.01 ? `, ${number(rest, 1)} off the plane` : ""}`;
  byId("flatten").hidden = latentDim <= 2 || rest <= 0.01;
  for (const input of byId("axes").querySelectorAll("input")) setSlider(input, z[Number(input.dataset.axis)]);
  clearTimeout(speaking);
  const { names, values } = data.colourings[state.colouring] ?? {};
  const near = names ? names[values[nearest(points, [u, v])]] : null;
  const what = latentDim <= 2 ? "nearest test example" : "nearest point of the map";
  let text = near === null ? `at ${number(u, 1)}, ${number(v, 1)} on the map` : `${what}: ${near}`;
  if (data.classes) text = `decoded as ${data.classes[state.label]}`;
  byId("where").textContent = text;
  speaking = setTimeout(() => (byId("spoken").textContent = `${number(u, 1)}, ${number(v, 1)}; ${text}`), SPOKEN);
}

function setSlider(input, value) {
  input.value = value;
  const share = (value - input.min) / (input.max - input.min);
  input.style.setProperty("--at", `${100 * Math.min(Math.max(share, 0), 1)}%`);
  if (input.nextElementSibling) input.nextElementSibling.value = number(value);
}

// The map

function listenToMap() {
  const square = byId("plane");
  const at = (event) => moved(plane, state.kept, map.place(event));
  square.addEventListener("pointermove", (event) => {
    const dragged = event.buttons > 0 || event.pointerType === "touch";
    go(at(event), dragged);
  });
  square.addEventListener("pointerdown", (event) => {
    square.setPointerCapture(event.pointerId);
    go(at(event));
  });
  square.addEventListener("pointerleave", () => state.shown !== state.kept && go(state.kept));
  square.addEventListener("keydown", (event) => {
    const step = (event.shiftKey ? 0.2 : 0.04) * plane.half;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (!by && event.key !== "Home") return;
    event.preventDefault();
    const [u, v] = by ? project(plane, state.kept) : plane.centre;
    go(moved(plane, state.kept, by ? [u + by[0], v + by[1]] : [u, v]));
  });
}

let round = 0;

/** Decode the pictures of the map, a few in each frame, those of the middle first. */
async function fillMap() {
  if (state.mode === "points") return;
  round += 1;
  const own = round;
  state.filled = false;
  let since = performance.now();
  for (const cell of cells(plane)) {
    const picture = await decode(moved(plane, state.kept, cell.place));
    if (own !== round || state.mode === "points") return;
    map.putTile(cell, rgba(picture, data.shape), data.shape);
    if (performance.now() - since > BUDGET) {
      paintMap();
      await new Promise(requestAnimationFrame);
      since = performance.now();
    }
  }
  paintMap();
  state.filled = true;
}

function setMode(mode) {
  state.mode = mode;
  for (const button of byId("modes").children) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  paintMap();
  fillMap();
}

// Colours

function setColours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  ink = { ink: of("ink"), paper: of("raised"), muted: of("muted"), line: of("line"), accent: of("accent"), family: of("text") };
  const dark = document.documentElement.dataset.theme === "dark";
  const chosen = data.colourings[state.colouring];
  coloured = chosen ? colouring(chosen, data.palette, dark) : null;
  fillLegend(chosen);
  paintMap();
  paintAbove();
  if (!isImage) paintRolls();
}

function fillLegend(chosen) {
  const legend = byId("legend");
  legend.replaceChildren();
  if (!chosen) return;
  if (chosen.names) {
    chosen.names.forEach((name, index) => {
      const swatch = element("i");
      swatch.style.background = coloured.legend[index];
      const button = element("button", { type: "button" }, swatch, name);
      button.setAttribute("aria-pressed", state.focus === index);
      button.addEventListener("click", () => {
        state.focus = state.focus === index ? null : index;
        for (const [i, each] of [...legend.children].entries()) each.setAttribute("aria-pressed", state.focus === i);
        paintMap();
      });
      legend.append(button);
    });
  } else {
    const bar = element("span", { className: "ramp" });
    bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(", ")})`;
    const [low, high] = coloured.limits.map((each) => String(Number(each.toPrecision(3))).replace("-", "−"));
    legend.append(low, bar, high);
  }
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (map) setColours();
}

// Controls

function makeSliders() {
  for (const { axis, information, unit, low, high } of data.axes) {
    const input = element("input", { type: "range", min: low, max: high, step: (high - low) / 400 });
    input.dataset.axis = axis;
    input.addEventListener("input", () => {
      const z = state.kept.slice();
      z[axis] = Number(input.value);
      state.posterior = null;
      go(z);
    });
    input.addEventListener("change", fillMap);
    const note = element("small", {}, unit === "bits" ? `${number(information, 1)} bits` : `variance ${number(information, 1)}`);
    const label = element("label", {}, element("span", {}, `z${axis} `, note), input, element("output"));
    byId("axes").append(label);
  }
}

function makeButtons() {
  const random = () => draws[Math.floor(Math.random() * draws.length)];
  const jump = (z) => {
    state.posterior = null;
    go(z);
    fillMap();
  };
  byId("draw").addEventListener("click", () => jump(random()));
  byId("flatten").addEventListener("click", () => jump(onPlane(plane, project(plane, state.kept))));
  byId("groups").hidden = data.groups.length < 2;
  data.groups.forEach(({ start, stop }, index) => {
    const size = element("small", {}, `${stop - start} latents`);
    const button = element("button", { type: "button" }, `Resample ${index + 1}`, size);
    button.addEventListener("click", () => {
      const z = state.kept.slice();
      z.set(random().subarray(start, stop), start);
      jump(z);
    });
    byId("group-buttons").append(button);
  });
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  for (const button of byId("modes").children) button.addEventListener("click", () => setMode(button.dataset.mode));
  byId("modes").hidden = !isImage || Math.max(...data.shape) > LARGEST_TILE;
  byId("colour-choice").hidden = data.colourings.length < 2;
  byId("colour").append(...data.colourings.map(({ name }, index) => element("option", { value: index }, name)));
  byId("colour").addEventListener("change", (event) => {
    [state.colouring, state.focus] = [Number(event.target.value), null];
    setColours();
    tell();
  });
}

function makeLabels() {
  const box = byId("labels");
  byId("label-box").hidden = !data.classes;
  (data.classes ?? []).forEach((name, index) => {
    const button = element("button", { type: "button", tabIndex: index ? -1 : 0 }, name);
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => pickLabel(index));
    box.append(button);
  });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    pickLabel((state.label + by + data.classes.length) % data.classes.length);
    box.children[state.label].focus();
  });
  if (data.classes) setLabel(0);
}

function setLabel(label) {
  state.label = label;
  for (const [index, button] of [...byId("labels").children].entries()) {
    button.setAttribute("aria-checked", index === label);
    button.tabIndex = index === label ? 0 : -1;
  }
  show();
  fillMap();
  fillSteps();
}

/** What a person does to the class: a drawing that is shown is read anew, because the encoder takes the class too. */
function pickLabel(label) {
  setLabel(label);
  if (state.kept === state.code) readPad();
}

// Two examples and what lies between

function makeExamples() {
  examples.forEach((example, index) => {
    const canvas = element("canvas");
    const button = element("button", { type: "button" }, canvas);
    const name = data.exampleLabels ? `, ${data.exampleClasses[data.exampleLabels[index]]}` : "";
    button.setAttribute("aria-label", `test example ${index + 1}${name}`);
    button.addEventListener("click", () => choose(index));
    byId("examples").append(button);
    if (isImage) paintPicture(canvas, example, data.shape);
  });
  byId("steps").append(...Array.from({ length: STEPS[data.kind] }, () => element("canvas")));
  byId("share").addEventListener("input", () => {
    const t = Number(byId("share").value);
    setSlider(byId("share"), t);
    [state.posterior, state.walking] = [null, true];
    go(between(...state.ends.map((end) => codes[end]), t));
  });
  byId("share").addEventListener("change", fillMap);
}

async function choose(index) {
  state.ends[state.next] = index;
  setSlider(byId("share"), state.next);
  [state.next, state.walking] = [1 - state.next, true];
  markEnds();
  if (data.classes) setLabel(data.exampleLabels[index]);
  state.posterior = networks.encode ? posteriorOf(await encode(examples[index])) : null;
  go(codes[index]);
  fillSteps();
  fillMap();
}

function markEnds() {
  for (const [each, button] of [...byId("examples").children].entries()) {
    if (state.ends.includes(each)) button.dataset.end = state.ends.indexOf(each);
    else delete button.dataset.end;
  }
}

async function fillSteps() {
  const [from, to] = state.ends.map((end) => codes[end]);
  const canvases = [...byId("steps").children];
  for (const [index, canvas] of canvases.entries()) {
    paint(canvas, await decode(between(from, to, index / (canvases.length - 1))));
  }
}

/** Melodies are painted in the colours of the theme. */
function paintRolls() {
  for (const [index, button] of [...byId("examples").children].entries()) {
    paintRoll(button.firstChild, examples[index], range, ink);
  }
  fillSteps();
  show();
}

// Drawing

function makePad() {
  byId("pad-section").hidden = !data.pad;
  document.querySelector(".pair").classList.toggle("alone", !data.pad);
  if (!data.pad) return;
  const [[top, bottom], [left, right]] = data.pad.box;
  const percent = (share) => `${100 * share}%`;
  Object.assign(byId("guide").style, { top: percent(top), bottom: percent(1 - bottom), left: percent(left), right: percent(1 - right) });
  byId("paper").classList.toggle("light", data.pad.paper === 1);
  const blank = Float32Array.from({ length: data.shape[0] * data.shape[1] }, () => data.pad.paper);
  for (const id of ["seen", "again"]) paintPicture(byId(id), blank, data.shape);
  pad = new Pad(byId("pad"), data.shape, data.pad.paper ? "#000" : "#fff", (drawn) => {
    state.drawn = drawn && inked(drawn, data.pad);
    if (drawn) readPad();
    else {
      state.posterior = null;
      for (const id of ["seen", "again"]) paintPicture(byId(id), blank, data.shape);
      paintAbove();
    }
  });
  byId("clear").addEventListener("click", () => pad.clear());
}

let reading = false;

/** Encode the drawing and show its reconstruction; strokes that come meanwhile are read afterwards. */
async function readPad() {
  if (!state.drawn || reading) return;
  reading = true;
  await new Promise(requestAnimationFrame);
  reading = false;
  const picture = state.drawn;
  if (!picture) return; // cleared meanwhile
  paintPicture(byId("seen"), picture, data.shape);
  const found = await encode(picture);
  const again = await decode(found.loc);
  if (!state.drawn) return;
  state.code = found.loc;
  state.posterior = posteriorOf(found);
  go(found.loc);
  if (!pad.last) fillMap(); // between strokes
  paintPicture(byId("again"), again, data.shape);
}

function posteriorOf(found) {
  const covariance = spread(plane, found);
  return covariance && { place: project(plane, found.loc), covariance };
}

// Music

function makeMusic() {
  document.body.classList.toggle("melody", !isImage);
  byId("play").hidden = isImage;
  byId("play").addEventListener("click", () => {
    if (stopMusic) return stopMusic();
    const tokens = state.output;
    const button = byId("play");
    stopMusic = play(tokens, (step) => {
      paintRoll(byId("picture"), step === null ? state.output : tokens, range, ink, step);
      if (step === null) stopMusic = null;
      button.firstElementChild.textContent = step === null ? "▶" : "■";
      byId("play-text").textContent = step === null ? "Play" : "Stop";
    });
  });
}

// Texts

function fillTexts() {
  byId("model").textContent = data.model;
  byId("set").textContent = data.set;
  byId("summary").textContent = data.summary;
  byId("facts").append(
    ...[...data.facts, { label: "latents", value: latentDim, unit: "" }].map(({ label, value, unit }) =>
      element("div", {}, element("dt", {}, label), element("dd", {}, String(value), " ", element("small", {}, unit))),
    ),
  );
  byId("across").textContent = `→ ${plane.names[0]}`;
  byId("up").textContent = plane.names[1] ? `↑ ${plane.names[1]}` : "the height of a point means nothing";
  byId("holds").textContent = data.networks.encode ? "both networks" : "the decoder";
  byId("it").textContent = data.networks.encode ? "them" : "it";
  const inBits = data.axes[0].unit === "bits";
  byId("order").textContent = inBits ? "the most informative first" : "those that vary most first";
  byId("about-plane").textContent =
    latentDim <= 2
      ? "The map is the whole latent space. Move over it, and the decoder draws what it makes of each place. Click to keep a place."
      : `The code has ${latentDim} numbers, and the map shows the two directions in which the codes of the test examples differ most.
        Move over it, and the other directions stay as they were: choose a test example first, and see it change.
        ${inBits ? "Bits say how much a latent tells about an example." : "The latents that vary most between examples come first."}`;
  byId("about-points").textContent = `Each point is a test example, which the model did not see in training. ${
    data.classes
      ? "This model is told the class, so the code need not hold it, and the classes lie over each other: a place is a style."
      : "Where points of one colour keep together, the code holds what the colour shows, although nobody told it."
  } What lies between the points need not look like any of the data.`;
  const { decode: network } = data.networks;
  const error = isImage
    ? `it differs from Keras by ${network.error.toExponential(1)} at most`
    : `${network.error ? `${number(100 * network.error)} % of` : "none of"} its tokens differ from those of Keras`;
  byId("colophon").textContent =
    `Run ${data.run}. Decoded by LiteRT.js ${data.runtime} (Apache 2.0), weights in ${network.precision}; ` +
    `on the codes that were compared, ${error}. Made with vaezoo explore.`;
}

// The start

function fail(error) {
  byId("alert").hidden = false;
  byId("alert").textContent = `The networks cannot be started in this browser: ${error?.message ?? error}`;
  byId("code").textContent = "";
}

async function begin() {
  fillTexts();
  makeMusic();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches);
  dark.addEventListener("change", () => setTheme(dark.matches));
  codes = rows(new Float32Array((await bytesIn("codes")).buffer), latentDim);
  draws = rows(new Float32Array((await bytesIn("draws")).buffer), latentDim);
  const size = data.shape.reduce((product, each) => product * each, 1);
  examples = rows(await bytesIn("examples"), size);
  examples = examples.map((each) => (isImage ? Float32Array.from(each, (level) => level / 255) : Array.from(each)));
  state.ends = [0, Math.min(examples.length - 1, 3)];
  range = isImage ? null : pitchRange(examples);
  map = new PlaneMap(byId("ground"), byId("above"), plane, points);
  const load = await started(new TextDecoder().decode(await bytesIn("loader")), await bytesIn("wasm"));
  networks = {};
  for (const name of Object.keys(data.networks)) networks[name] = await load(await bytesIn(name));
  makeSliders();
  makeButtons();
  makeExamples();
  makeLabels();
  makePad();
  setColours();
  listenToMap();
  new ResizeObserver(() => {
    map.resize();
    paintMap();
    paintAbove();
  }).observe(byId("plane"));
  markEnds();
  setSlider(byId("share"), 0);
  fillSteps();
  go(codes[0]);
  globalThis.explorer = { state, data, decode, encode, codes, draws }; // for tests, and for the curious
}

begin().catch(fail);
