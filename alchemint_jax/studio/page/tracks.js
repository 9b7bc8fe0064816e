// The rows of the timeline: drawn from the document, changed in place, each element by its key.

import { pictureUrl } from "./api.js";
import { make, set } from "./dom.js";
import { isEvent, rowsOf } from "./store.js";
import { Ruler, seconds } from "./ruler.js";

const EDGE = 12; // pixels left and right of the time itself

export class Tracks {
  constructor(root, handlers) {
    this.root = root;
    this.handlers = handlers; // word, settle, picture, removeRow, chosen, drawn
    this.rows = new Map();
    this.bars = new Map();
    this.chosen = new Set();
    this.focus = null; // id of the bar that Tab reaches
    this.scale = 0; // pixels a second that were chosen; 0 fits
    this.step = 100; // those of now: to ask the page for them costs a layout
    this.seen = new Map(); // measured spans in seconds, by row key
    this.ruler = new Ruler({ ticks: [0, 0.125, 4], latents: [0, 2], fps: 8, frames: 2 });
    this.second = 0;
    this.head = make("div", { class: "ruler" });
    this.grid = make("canvas", { class: "grid", "aria-hidden": "true" });
    this.playhead = make("div", { class: "playhead", "aria-hidden": "true" });
    this.body = make("div", { class: "rows" });
    this.inner = make("div", { class: "inner" }, this.head, this.grid, this.body, this.playhead);
    root.append(this.inner);
    new ResizeObserver(() => this.draw(this.doc)).observe(root);
  }

  get label() { return parseFloat(getComputedStyle(this.root).getPropertyValue("--label")); }
  get pixels() {
    const wide = this.root.clientWidth - this.label - 2 * EDGE;
    const fit = Math.max(40, wide) / Math.max(0.1, this.ruler.end);
    const least = Math.min(90, 1500 / this.ruler.end); // on a small screen the timeline scrolls
    return Math.max(fit, least, this.scale);
  }
  x(second) { return EDGE + second * this.step; }
  secondAt(clientX) {
    const left = this.body.getBoundingClientRect().left + this.label + EDGE;
    return Math.min(this.ruler.end, Math.max(0, (clientX - left) / this.step));
  }

  zoom(factor, clientX = null) {
    const at = clientX === null ? this.second : this.secondAt(clientX);
    const before = this.x(at) - this.root.scrollLeft;
    this.scale = factor ? Math.min(4000, this.pixels * factor) : 0;
    this.draw(this.doc);
    this.root.scrollLeft = this.x(at) - before;
  }

  draw(doc) {
    if (!doc) return;
    this.doc = doc;
    const kept = new Set(), keptBars = new Set();
    this.step = this.pixels;
    this.inner.style.width = `${this.label + 2 * EDGE + this.ruler.end * this.step}px`;
    rowsOf(doc).forEach((row, number) => {
      kept.add(row.key);
      const parts = this.rows.get(row.key) ?? this.#makeRow(row);
      this.#drawRow(parts, row, number);
      for (const [index, one] of row.bars.entries()) {
        keptBars.add(one.id);
        this.#drawBar(parts, row, one, index, number);
      }
    });
    for (const [key, parts] of this.rows) if (!kept.has(key)) { parts.row.remove(); this.rows.delete(key); }
    for (const [id, element] of this.bars) {
      if (!keptBars.has(id)) { element.remove(); this.bars.delete(id); this.chosen.delete(id); }
    }
    if (!keptBars.has(this.focus)) this.focus = rowsOf(doc).flatMap((row) => row.bars)[0]?.id ?? null;
    for (const [id, element] of this.bars) element.tabIndex = id === this.focus ? 0 : -1;
    let before = null; // order as in the document
    for (const row of rowsOf(doc)) {
      const { row: element } = this.rows.get(row.key);
      if (before ? before.nextSibling !== element : this.body.firstChild !== element) {
        if (before) before.after(element); else this.body.prepend(element);
      }
      before = element;
    }
    this.handlers.drawn(doc);
    this.#drawGrid();
    this.place(this.second);
  }

  #makeRow(row) {
    const event = isEvent(row);
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    const name = make("input", {
      type: "text", class: "word", spellcheck: false, placeholder: event ? "what happens" : "word in the prompt",
      oninput: () => this.handlers.word(row.key, name.value),
      onchange: () => this.handlers.settle(),
    });
    const picture = event ? null : make("button", {
      class: "picture", onclick: () => this.handlers.picture(row.key),
    });
    const remove = make("button", { class: "x", onclick: () => this.handlers.removeRow(row.key) }, "×");
    const label = make("div", { class: "label" }, swatch, picture, name, remove);
    const track = make("div", { class: "track" }); // which the keys reach while it has no bars
    const lane = make("div", { class: "lane", "aria-hidden": "true" });
    track.append(lane);
    const element = make("div", { class: `row${event ? " event" : ""}`, role: "group" }, label, track);
    element.dataset.key = row.key;
    const parts = { row: element, track, lane, name, picture, swatch, remove };
    this.rows.set(row.key, parts);
    return parts;
  }

  #drawRow(parts, row, number) {
    const event = isEvent(row);
    const title = event ? row.text || "event" : row.word || "subject";
    parts.row.dataset.look = event ? "event" : number % 6;
    parts.row.setAttribute("aria-label", title);
    set(parts.swatch, "textContent", event ? "“" : String(number + 1));
    if (document.activeElement !== parts.name) set(parts.name, "value", event ? row.text : row.word);
    parts.name.setAttribute("aria-label", event ? "What happens" : `Word of subject ${number + 1}`);
    const bare = row.bars.length ? {} : { tabindex: "0", role: "button", "aria-label": `${title} has no bars; N draws one at the playhead` };
    for (const name of ["tabindex", "role", "aria-label"]) {
      if (name in bare) parts.track.setAttribute(name, bare[name]); else parts.track.removeAttribute(name);
    }
    parts.remove.setAttribute("aria-label", `Remove the row ${title}`);
    parts.remove.title = "Remove this row";
    if (parts.picture) {
      parts.picture.setAttribute("aria-label", `Picture of ${title}`);
      parts.picture.title = "Choose, drop or paste a picture; click to crop it";
      if (parts.image !== row.image) {
        parts.image = row.image;
        parts.picture.replaceChildren(row.image ? make("img", { src: pictureUrl(row.image), alt: "" }) : "+");
      }
    }
    const spans = this.seen.get(row.key) ?? [];
    parts.lane.replaceChildren(...spans.map(([start, end]) => {
      const span = make("i");
      span.style.left = `${this.x(start)}px`;
      span.style.width = `${Math.max(2, (end - start) * this.step)}px`;
      return span;
    }));
  }

  #drawBar(parts, row, one, index, number) {
    let element = this.bars.get(one.id);
    if (!element) {
      element = make("div", { class: "bar", role: "button" }, make("b"));
      element.dataset.id = one.id;
      this.bars.set(one.id, element);
    }
    if (element.parentNode !== parts.track) parts.track.append(element);
    this.placeBar(element, one);
    const title = isEvent(row) ? row.text || "event" : row.word || `subject ${number + 1}`;
    set(element.firstChild, "textContent", title);
    const which = row.bars.length > 1 ? `, bar ${index + 1} of ${row.bars.length}` : "";
    element.setAttribute("aria-label", `${title}${which}: ${seconds(one.start)} to ${seconds(one.end)}`);
    element.setAttribute("aria-pressed", String(this.chosen.has(one.id)));
  }

  placeBar(element, { start, end }) {
    element.style.transform = `translateX(${this.x(start)}px)`;
    element.style.width = `${Math.max(4, (end - start) * this.step - 1)}px`;
  }

  choose(ids, focus = null) {
    this.chosen = new Set(ids);
    if (focus) this.focus = focus;
    for (const [id, element] of this.bars) {
      element.setAttribute("aria-pressed", String(this.chosen.has(id)));
      element.tabIndex = id === this.focus ? 0 : -1;
    }
    if (focus) this.bars.get(focus)?.focus({ preventScroll: true });
    this.handlers.chosen();
  }

  place(second) {
    this.second = Math.min(second, this.ruler.end);
    this.playhead.style.transform = `translateX(${this.label + this.x(this.second)}px)`;
  }

  #drawGrid() {
    const { ticks, latents } = this.ruler;
    const width = 2 * EDGE + this.ruler.end * this.step, height = this.inner.offsetHeight;
    const ratio = Math.min(devicePixelRatio || 1, 16000 / Math.max(1, width));
    const canvas = this.grid;
    canvas.style.left = `${this.label}px`;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), style = getComputedStyle(this.root);
    pen.scale(ratio, ratio);
    pen.fillStyle = style.getPropertyValue("--latent");
    for (let i = 0; i + 1 < latents.length; i += 2) {
      const from = this.x(ticks[latents[i]]), to = this.x(ticks[latents[i + 1]]);
      pen.fillRect(from, 0, to - from, height);
    }
    if (this.step / this.ruler.fps > 5) {
      pen.fillStyle = style.getPropertyValue("--line");
      for (const tick of ticks) pen.fillRect(Math.round(this.x(tick)), this.head.offsetHeight - 4, 1, height);
    }
    pen.fillStyle = style.getPropertyValue("--soft");
    pen.font = "11px system-ui, sans-serif";
    const every = [0.25, 0.5, 1, 2, 5, 10, 30, 60].find((one) => one * this.step > 56) ?? 120;
    for (let second = 0; second <= this.ruler.end + 1e-6; second += every) {
      pen.fillRect(Math.round(this.x(second)), 14, 1, this.head.offsetHeight - 14);
      if (this.x(second) + 36 < width) pen.fillText(`${+second.toFixed(2)} s`, this.x(second) + 4, 12);
    }
  }
}
