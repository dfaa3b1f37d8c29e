// Colours of points: one for each class, a ramp for a number.

// Nine colours of viridis, from the matplotlib of the same name.
const RAMP = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

const parts = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
const joined = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;
const mixed = (a, b, share) => a.map((each, i) => each + share * (b[i] - each));

/** How light a colour looks, 0 to 1. */
export function lightness(hex) {
  const [r, g, b] = parts(hex);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** A colour that can be seen on the background: a dark one is lightened on a dark one, and the other way round. */
export function visible(hex, dark) {
  const light = lightness(hex);
  const share = dark ? Math.max(0, 0.46 - light) : Math.max(0, light - 0.72);
  return joined(mixed(parts(hex), dark ? [255, 255, 255] : [0, 0, 0], share * (dark ? 1.2 : 0.8)));
}

/** A number from 0 to 1 as a colour of the ramp. */
export function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return joined(mixed(parts(RAMP[low]), parts(RAMP[low + 1]), at - low));
}

/** The colour of each point, of each entry of the legend, and the limits of a number. */
export function colouring({ names, values }, palette, dark) {
  if (names) {
    const colours = names.map((_, index) => visible(palette[index % palette.length], dark));
    return { colours: values.map((value) => colours[value]), legend: colours, limits: null };
  }
  const sorted = [...values].sort((a, b) => a - b);
  const limits = [sorted[Math.floor(0.01 * (sorted.length - 1))], sorted[Math.ceil(0.99 * (sorted.length - 1))]];
  const range = limits[1] - limits[0] || 1;
  return { colours: values.map((value) => ramp((value - limits[0]) / range)), legend: null, limits };
}
