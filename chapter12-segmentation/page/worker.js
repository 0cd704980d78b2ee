/** The network, apart from the page, which stays free meanwhile. */

import * as ort from "./libraries/ort.wasm.min.mjs";
import { viaRegions } from "./outlines.js";
import { indexPng } from "./png.js";
import { enlargedClasses, resized } from "./resize.js";

ort.env.wasm.wasmPaths = new URL("./libraries/", import.meta.url).href;
// Several threads share memory, which browsers allow where the server asks for isolation.
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

let about, session, last;

const tasks = {
  /** Read the network; answer with what is known of it. */
  async load() {
    about = await (await fetch("model.json")).json();
    session = await ort.InferenceSession.create("model.onnx");
    return about;
  },

  /** Segment h * w * 4 values; answer with the pixels' colours and the classes' shares. */
  async segment({ rgba, size }) {
    const start = performance.now(), { height, width, channels, classes } = about;
    const small = resized(rgba, size, [height, width], channels);
    const pictures = new ort.Tensor("uint8", small, [1, height, width, channels]);
    const { probabilities } = await session.run({ pictures });
    const found = enlargedClasses(probabilities.data, [height, width], size, classes.length);
    last = { found, size };
    const colours = new Uint8ClampedArray(found.length * 4), counts = new Array(classes.length).fill(0);
    const words = new Uint32Array(colours.buffer);
    const palette = classes.map(({ colour: [r, g, b] }) => (r | (g << 8) | (b << 16) | (255 << 24)) >>> 0);
    if (!(palette[0] & 0xffffff)) palette[0] = 0; // a black background is seen through
    for (let index = 0; index < found.length; index++) {
      words[index] = palette[found[index]];
      counts[found[index]]++;
    }
    const shares = counts.map((count) => count / found.length);
    return { colours, size, shares, seconds: (performance.now() - start) / 1000 };
  },

  /** The last answer as a file. */
  mask: () => indexPng(last.found, last.size, about.classes.map(({ colour }) => colour)),

  /** The last answer as regions of VIA. */
  regions: () => viaRegions(last.found, last.size),
};

let turn = Promise.resolve(); // one after the other
self.onmessage = ({ data: { number, task, content } }) => {
  turn = turn.then(async () => {
    try {
      const answer = await tasks[task](content);
      self.postMessage({ number, answer }, answer?.colours ? [answer.colours.buffer] : []);
    } catch (error) {
      self.postMessage({ number, problem: String(error?.message ?? error) });
    }
  });
};
