/** A label map as PNG whose values are class ids and whose palette has the colours of the classes. */

const CRCS = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** One piece of a PNG file: length, kind, content and checksum (PNG specification, 5.3). */
function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(content, 8);
  let crc = 0xffffffff;
  for (const byte of bytes.subarray(4, -4)) crc = CRCS[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(content.length + 8, ~crc);
  return bytes;
}

/**
 * @param {Uint8Array} classes h * w class ids
 * @param {number[]} size [h, w]
 * @param {number[][]} colours [r, g, b] of each class
 * @returns {Promise<Blob>} the file
 */
export async function indexPng(classes, [h, w], colours) {
  const rows = new Uint8Array(h * (w + 1)); // each begins with its filter, 0 for none
  for (let y = 0; y < h; y++) rows.set(classes.subarray(y * w, (y + 1) * w), y * (w + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, w);
  view.setUint32(4, h);
  header.set([8, 3], 8); // bits of a value; values are those of the palette
  return new Blob([
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    chunk("IHDR", header),
    chunk("PLTE", Uint8Array.from(colours.flat())),
    chunk("IDAT", new Uint8Array(await new Response(packed).arrayBuffer())),
    chunk("IEND", new Uint8Array()),
  ], { type: "image/png" });
}
