/** What is seen and pressed; the work is done in worker.js. */

const [stage, photograph, answer, status, file, webcam, opacity, legend, mask, project, picture] = [
  "stage", "photograph", "answer", "status", "file", "webcam", "opacity", "legend", "mask", "project", "picture",
].map((id) => document.getElementById(id));
const MOST = 100e6; // pixels, of which browsers keep some 1.5 GB at the same time

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let about, shown, number = 0, latest = 0, stream = null;

/** Have the worker do something; a promise of its answer. */
function ask(task, content, transfer = []) {
  const { promise, resolve, reject } = Promise.withResolvers();
  waiting.set(++number, { resolve, reject });
  worker.postMessage({ number, task, content }, transfer);
  return promise;
}
worker.onmessage = ({ data: { number, answer, problem } }) => {
  const { resolve, reject } = waiting.get(number);
  waiting.delete(number);
  if (problem) reject(new Error(problem)); else resolve(answer);
};
worker.onerror = (event) => {
  say(`The network cannot be started (${event.message}); load this page again.`, true);
};

function say(text, isProblem = false) {
  status.textContent = text;
  status.classList.toggle("problem", isProblem);
}

/** Draw a picture and its answer. The latest that is asked for wins. */
async function segment(source, [h, w], name, bytes) {
  const turn = ++latest;
  for (const button of [mask, project, picture]) button.disabled = true;
  // Bytes as they are stored: no colour management, as Pillow has none.
  const canvas = new OffscreenCanvas(w, h);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(source, 0, 0);
  const { data } = context.getImageData(0, 0, w, h);
  const { colours, shares, seconds } = await ask("segment", { rgba: data, size: [h, w] }, [data.buffer]);
  if (turn !== latest) return;
  for (const each of [photograph, answer]) Object.assign(each, { width: w, height: h });
  photograph.getContext("2d").drawImage(canvas, 0, 0);
  answer.getContext("2d").putImageData(new ImageData(colours, w, h), 0, 0);
  stage.classList.add("filled");
  shown = { name, bytes };
  const parts = about.classes.map(({ name }, index) => `${name} ${percent(shares[index])}`);
  photograph.setAttribute("aria-label", `${name}: ${parts.join(", ")}`);
  [...legend.tBodies[0].rows].forEach((row, index) => { row.cells[1].textContent = percent(shares[index]); });
  say(`${name}, ${w} × ${h} pixels: ${seconds.toFixed(2)} s.`);
  for (const button of [mask, project, picture]) button.disabled = false;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Segment a file; say what is wrong with it. */
async function open(chosen) {
  if (!chosen || !about) return;
  stopWebcam();
  say(`${chosen.name} is being segmented …`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(chosen, { colorSpaceConversion: "none" });
  } catch {
    say(`${chosen.name} is no picture that this browser can read; choose a JPEG, PNG or WebP file.`, true);
    return;
  }
  try {
    const { height, width } = bitmap;
    if (height * width > MOST) {
      say(`${chosen.name} has ${width} × ${height} pixels, too many for a browser; ` +
        "segment it with fcn-12.3.1.py --segment.", true);
      return;
    }
    picture.hidden = true;
    await segment(bitmap, [height, width], chosen.name, chosen.size);
  } catch (error) {
    say(`${chosen.name} could not be segmented (${error.message}); try a smaller one.`, true);
  } finally {
    bitmap.close();
  }
}

/** Segment what the webcam sees, picture after picture, until it is stopped. */
async function startWebcam() {
  const video = document.createElement("video");
  webcam.disabled = true; // until it is there, or else there would be two
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
    await video.play();
  } catch (error) {
    stopWebcam();
    say(`There is no webcam that this page may use (${error.message}); allow it in the browser.`, true);
    return;
  } finally {
    webcam.disabled = false;
  }
  const mine = stream;
  webcam.setAttribute("aria-pressed", "true");
  picture.hidden = false;
  try {
    while (stream === mine) {
      const name = `webcam-${new Date().toISOString().replace(/[:.]/g, "-")}.png`;
      await segment(video, [video.videoHeight, video.videoWidth], name, -1);
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    stopWebcam();
    say(`The webcam's picture could not be segmented (${error.message}).`, true);
  }
}

function stopWebcam() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  webcam.setAttribute("aria-pressed", "false");
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const withoutEnd = (name) => name.replace(/\.[^.]*$/, "");

/** A project with one picture, whose class names and settings come with the network. */
async function viaProject() {
  const id = `${shown.name}${shown.bytes}`, regions = await ask("regions");
  const entry = { filename: shown.name, size: shown.bytes, regions, file_attributes: {} };
  const content = { ...about.via, _via_img_metadata: { [id]: entry }, _via_image_id_list: [id] };
  return new Blob([JSON.stringify(content)], { type: "application/json" });
}

/** Offer a file that is made when it is wanted. */
function offer(button, end, make) {
  button.addEventListener("click", async () => {
    stopWebcam();
    try {
      const { name } = shown;
      download(await make(), withoutEnd(name) + end);
    } catch (error) {
      say(`The file could not be made (${error.message}).`, true);
    }
  });
}

offer(mask, "-mask.png", () => ask("mask"));
offer(project, "-via.json", viaProject);
offer(picture, ".png", () => new Promise((resolve) => photograph.toBlob(resolve)));
file.addEventListener("change", () => { open(file.files[0]); file.value = ""; });
webcam.addEventListener("click", () => { if (stream) stopWebcam(); else startWebcam(); });
opacity.addEventListener("input", showOpacity);
function showOpacity() { answer.style.opacity = opacity.value / 100; }
showOpacity();

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault(); // else the browser leaves the page for the file
    stage.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") open(event.dataTransfer.files[0]);
  });
}

try {
  about = await ask("load");
  for (const { name, colour } of about.classes) {
    const row = legend.tBodies[0].insertRow(), swatch = document.createElement("span");
    swatch.className = "colour";
    swatch.style.background = `rgb(${colour})`;
    row.insertCell().append(swatch, name);
    row.insertCell();
  }
  webcam.disabled = false;
  say("Ready: choose a photograph, or drop one.");
} catch (error) {
  say(`The network cannot be read (${error.message}); build this page anew with make page.`, true);
}
