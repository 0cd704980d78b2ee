/** Pictures to the network's size, and its answer to theirs. */

/**
 * The weights by which Pillow resizes one side: a tent as wide as the step between new pixels, or
 * between old ones where these are further apart.
 *
 * @param {number} length of the side
 * @param {number} size that it is to have
 * @returns {{first: number, weights: number[]}[]} for each new pixel; weights add up to 1
 */
function tents(length, size) {
  const step = length / size, reach = Math.max(step, 1);
  return Array.from({ length: size }, (_, index) => {
    const centre = (index + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(length, Math.floor(centre + reach + 0.5));
    const weights = [];
    for (let old = first; old < last; old++) {
      weights.push(Math.max(0, 1 - Math.abs(old + 0.5 - centre) / reach));
    }
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * Resize as Pillow does it, bilinear with antialiasing, with whole numbers in between.
 *
 * @param {Uint8ClampedArray} rgba h * w * 4 values
 * @param {number[]} from [h, w]
 * @param {number[]} to [H, W]
 * @param {number} channels 3, or 1 for brightness by ITU-R BT.601
 * @returns {Uint8Array} H * W * channels values
 */
export function resized(rgba, [h, w], [H, W], channels) {
  const across = tents(w, W), down = tents(h, H);
  const narrow = new Uint8Array(h * W * channels);
  const row = new Uint8Array(w * channels);
  for (let y = 0, out = 0; y < h; y++) {
    for (let x = 0, at = y * w * 4; x < w; x++, at += 4) {
      if (channels === 1) {
        row[x] = (19595 * rgba[at] + 38470 * rgba[at + 1] + 7471 * rgba[at + 2] + 32768) >> 16;
      } else for (let c = 0; c < 3; c++) row[3 * x + c] = rgba[at + c];
    }
    for (const { first, weights } of across) {
      for (let c = 0; c < channels; c++) {
        let sum = 0.5;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * row[(first + k) * channels + c];
        narrow[out++] = sum;
      }
    }
  }
  const small = new Uint8Array(H * W * channels), stride = W * channels;
  down.forEach(({ first, weights }, Y) => {
    for (let x = 0; x < stride; x++) {
      let sum = 0.5;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * narrow[(first + k) * stride + x];
      small[Y * stride + x] = sum;
    }
  });
  return small;
}

/**
 * The likeliest class of every pixel of an answer that is enlarged bilinearly, centres on centres.
 *
 * @param {Float32Array} probabilities H * W * count values
 * @param {number[]} from [H, W]
 * @param {number[]} to [h, w]
 * @param {number} count of classes
 * @returns {Uint8Array} h * w class ids
 */
export function enlargedClasses(probabilities, [H, W], [h, w], count) {
  const across = between(W, w), down = between(H, h);
  const classes = new Uint8Array(h * w), row = new Float32Array(W * count);
  for (let y = 0, out = 0; y < h; y++) {
    const above = down.lower[y] * W * count, below = down.upper[y] * W * count;
    for (let x = 0; x < row.length; x++) {
      row[x] = mixed(probabilities[above + x], probabilities[below + x], down.share[y]);
    }
    for (let x = 0; x < w; x++, out++) {
      const left = across.lower[x] * count, right = across.upper[x] * count, share = across.share[x];
      let most = -1;
      for (let c = 0; c < count; c++) {
        const value = mixed(row[left + c], row[right + c], share);
        if (value > most) { most = value; classes[out] = c; }
      }
    }
  }
  return classes;
}

const mixed = (one, other, share) => one + (other - one) * share;

/** Between which old pixels each new one of a side lies, and how far towards the second. */
function between(length, size) {
  const lower = new Int32Array(size), upper = new Int32Array(size), share = new Float32Array(size);
  for (let index = 0; index < size; index++) {
    const place = Math.min(Math.max(((index + 0.5) * length) / size - 0.5, 0), length - 1);
    lower[index] = Math.floor(place);
    upper[index] = Math.min(lower[index] + 1, length - 1);
    share[index] = place - lower[index];
  }
  return { lower, upper, share };
}
