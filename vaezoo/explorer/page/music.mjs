// Melodies: a token for each sixteenth. 0 holds what sounds, 1 ends it, 2 + n begins a note of the MIDI pitch 21 + n.

const OFF = 1;
const FIRST_NOTE = 2;
const LOWEST_PITCH = 21;

/** Tokens → notes: {start, length, pitch}, in sixteenths. */
export function notesOf(tokens) {
  const notes = [];
  let sounding = null;
  const end = (step) => {
    if (sounding) notes.push({ ...sounding, length: step - sounding.start });
    sounding = null;
  };
  tokens.forEach((token, step) => {
    if (token === OFF) end(step);
    if (token < FIRST_NOTE) return;
    end(step);
    sounding = { start: step, pitch: LOWEST_PITCH + token - FIRST_NOTE };
  });
  end(tokens.length);
  return notes;
}

/** The output of a decoder → tokens: they are tokens, or the probability of each token at each step. */
export function tokensOf(output, steps) {
  if (output.length === steps) return Array.from(output);
  const size = output.length / steps;
  return Array.from({ length: steps }, (_, step) => {
    const row = output.subarray(step * size, (step + 1) * size);
    return row.indexOf(Math.max(...row));
  });
}

/** The frequency of a MIDI pitch, in Hz: equal temperament, A4 = 69 is 440 Hz. */
export function frequency(pitch) {
  return 440 * 2 ** ((pitch - 69) / 12);
}

const SECONDS = 15 / 110; // a sixteenth at 110 quarter notes a minute

/** Play a melody; `tell` gets the step that sounds, and null at the end. Returns a function that stops it. */
export function play(tokens, tell) {
  const context = new AudioContext();
  const begin = context.currentTime + 0.08;
  const partials = new Float32Array(9).map((_, n) => (n ? 1 / n ** 1.6 : 0));
  const wave = context.createPeriodicWave(new Float32Array(9), partials);
  for (const { start, length, pitch } of notesOf(tokens)) {
    const [at, seconds] = [begin + start * SECONDS, length * SECONDS];
    const [string, loudness] = [context.createOscillator(), context.createGain()];
    string.setPeriodicWave(wave);
    string.frequency.value = frequency(pitch);
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(0.32, at + 0.006);
    loudness.gain.setTargetAtTime(0.04, at + 0.006, 0.45);
    loudness.gain.setTargetAtTime(0, at + seconds, 0.03);
    string.connect(loudness).connect(context.destination);
    string.start(at);
    string.stop(at + seconds + 0.3);
  }
  let frame = 0;
  const stop = () => {
    cancelAnimationFrame(frame);
    context.close();
    tell(null);
  };
  const follow = () => {
    const step = (context.currentTime - begin) / SECONDS;
    if (step >= tokens.length + 1) return stop();
    tell(Math.max(step, 0));
    frame = requestAnimationFrame(follow);
  };
  follow();
  return stop;
}
