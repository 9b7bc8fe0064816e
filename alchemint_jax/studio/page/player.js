// Frames of results and of previews, exactly by number; two of them with a wipe between.

import { $, make } from "./dom.js";

const LARGEST = 384; // pixels of a screen on the page

class Screen {
  constructor() {
    this.canvas = make("canvas", { role: "img", "aria-label": "Video" });
    this.button = make("button", { class: "title", title: "Show what was measured of it" });
    this.caption = make("figcaption", {}, this.button);
    this.figure = make("figure", {}, make("div", { class: "screen" }, this.canvas), this.caption);
    this.strip = null;
  }

  show(strip, image) {
    this.strip = strip;
    this.image = image;
    this.canvas.width = strip.width; this.canvas.height = strip.height;
    this.canvas.classList.toggle("small", strip.width < LARGEST);
  }

  // Onto the whole of a canvas, or onto its part from a share of the width on.
  draw(frame, canvas = this.canvas, from = 0) {
    const { columns, width, height, frames } = this.strip, at = Math.min(frames - 1, frame);
    const x = (at % columns) * width, y = Math.floor(at / columns) * height;
    const skip = Math.round(from * canvas.width), part = skip * (width / canvas.width);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    if (skip < canvas.width) pen.drawImage(this.image, x + part, y, width - part, height, skip, 0, canvas.width - skip, canvas.height);
  }
}

const images = new Map(); // of strips, by address
export function loaded(source) {
  if (!images.has(source)) {
    const image = new Image();
    image.src = source;
    images.set(source, image.decode().then(() => image, (error) => { images.delete(source); throw error; }));
    if (images.size > 60) images.delete(images.keys().next().value);
  }
  return images.get(source);
}

export class Player {
  constructor(moved) {
    this.moved = moved; // called with the frame
    this.frame = 0; this.frames = 1; this.fps = 8; this.playing = false;
    this.screens = [];
    this.wipe = null;
    this.chosen = () => {}; // called with the id of the screen whose title is clicked
    $("play").addEventListener("click", () => this.toggle());
    $("scrub").addEventListener("input", () => { this.pause(); this.seek(Number($("scrub").value)); });
  }

  // Shows results side by side, or two with a wipe. Each is {id, title, strip, source, fps, frames}.
  async show(results, compare = false) {
    const token = (this.token = Symbol("show"));
    const pictures = await Promise.all(results.map((one) => loaded(one.source)));
    if (token !== this.token) return;
    this.frames = Math.min(...results.map((one) => one.frames));
    this.fps = results[0].fps;
    this.wipe = compare && results.length === 2 ? (this.wipe ?? 0.5) : null;
    this.screens = results.map((one, i) => {
      const screen = new Screen();
      screen.id = one.id;
      screen.show(one.strip, pictures[i]);
      screen.button.textContent = one.title;
      screen.button.addEventListener("click", () => this.chosen(one.id));
      if (results.length === 1) screen.caption.textContent = one.title;
      if (this.wipe !== null) screen.caption.textContent = `${i ? "right" : "left"}: ${one.title}`;
      return screen;
    });
    if (this.wipe === null) {
      $("screens").replaceChildren(...this.screens.map((screen) => screen.figure));
    } else {
      const [left, right] = this.screens;
      const slider = make("input", { type: "range", min: 0, max: 1, step: 0.005, value: this.wipe, class: "wipe", "aria-label": "Wipe between the two renders",
        oninput: () => { this.wipe = Number(slider.value); this.draw(); } });
      left.figure.append(slider, right.caption);
      left.figure.classList.add("large");
      $("screens").replaceChildren(left.figure);
    }
    $("screens").dataset.count = this.wipe === null ? results.length : 1;
    $("scrub").max = this.frames - 1;
    this.seek(Math.min(this.frame, this.frames - 1));
  }

  // A preview takes the place of what is shown of its job.
  async preview(id, strip, jpeg) {
    const screen = this.screens.find((one) => one.id === id);
    if (!screen) return;
    const image = new Image();
    image.src = `data:image/jpeg;base64,${jpeg}`;
    await image.decode();
    screen.show(strip, image);
    this.draw();
  }

  draw() {
    for (const screen of this.wipe === null ? this.screens : this.screens.slice(0, 1)) {
      screen.draw(this.frame);
      if (this.wipe === null) continue;
      const { canvas } = screen, pen = canvas.getContext("2d");
      this.screens[1].draw(this.frame, canvas, this.wipe);
      pen.fillStyle = "#fff";
      pen.fillRect(Math.round(this.wipe * canvas.width), 0, 1, canvas.height);
    }
  }

  seek(frame, tell = true) {
    this.frame = Math.max(0, Math.min(this.frames - 1, frame));
    $("scrub").value = this.frame;
    $("scrub").setAttribute("aria-valuetext", `frame ${this.frame} of ${this.frames}`);
    $("frame").textContent = `${String(this.frame).padStart(2, "0")} / ${this.frames - 1}`;
    this.draw();
    if (tell) this.moved(this.frame);
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  play() {
    if (!this.screens.length) return;
    this.playing = true;
    this.#label();
    const began = performance.now(), from = this.frame >= this.frames - 1 ? 0 : this.frame;
    const step = (now) => {
      if (!this.playing) return;
      const frame = (from + Math.floor(((now - began) / 1000) * this.fps)) % this.frames;
      if (frame !== this.frame) this.seek(frame);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  pause() { this.playing = false; this.#label(); }

  #label() {
    $("play").textContent = this.playing ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }
}
