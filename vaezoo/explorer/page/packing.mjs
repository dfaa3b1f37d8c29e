// The reverse of packing.py: text → bytes. 15 bits in each character, compressed, the bytes of a number apart.

const LOWEST_CHARACTER = 0x3400;
const CHARACTER_BITS = 15;

/** The first `size` bytes of a text. */
export function bytesOf(text, size) {
  const bytes = new Uint8Array(size);
  let held = 0; // bits that are not in a byte yet
  let count = 0;
  let at = 0;
  for (let i = 0; at < size; i += 1) {
    held = (held << CHARACTER_BITS) | (text.charCodeAt(i) - LOWEST_CHARACTER);
    count += CHARACTER_BITS;
    while (count >= 8 && at < size) {
      count -= 8;
      bytes[at] = held >> count;
      at += 1;
    }
    held &= (1 << count) - 1;
  }
  return bytes;
}

/** Numbers of `width` bytes whose first bytes stand before all second ones, and so on → the bytes in order. */
export function interleaved(bytes, width) {
  const count = bytes.length / width;
  const out = new Uint8Array(bytes.length);
  for (let part = 0; part < width; part += 1) {
    for (let i = 0; i < count; i += 1) out[i * width + part] = bytes[part * count + i];
  }
  return out;
}

/** Unpack a text. */
export async function unpacked(text, size, width) {
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  writer.write(bytesOf(text, size));
  writer.close();
  const bytes = new Uint8Array(await new Response(stream.readable).arrayBuffer());
  return width === 1 ? bytes : interleaved(bytes, width);
}
