// The fields of the board, what is wrong with it, and the times of the chosen bar.

import { pictureUrl } from "./api.js";
import { $, make, say, set } from "./dom.js";
import { isEvent, rowOfBar } from "./store.js";

const OTHER = "other";
const short = (value) => (typeof value === "number" ? Number(value.toFixed(4)) : value); // as fields show it
const NUMBERS = { duration: 1, fps: 1, seed: 1 };

export class Panel {
  // `labels` says whether the board is of a video, which may have events whatever the model takes.
  constructor(store, tracks, editing, pick, labels) {
    Object.assign(this, { store, tracks, editing, pick, labels });
    const change = (name, value, merge = null) => store.commit({ ...store.doc, [name]: value }, merge);
    $("prompt").addEventListener("input", () => change("prompt", $("prompt").value, "prompt"));
    $("negative").addEventListener("input", () => change("negative_prompt", $("negative").value || null, "negative"));
    for (const name of Object.keys(NUMBERS)) {
      $(name).addEventListener("change", () => {
        const value = $(name).value === "" ? null : Number($(name).value);
        if (name === "duration" && value === null) { this.draw(store.doc); return; }
        change(name, name === "duration" ? Math.max(0.001, value) : value);
      });
    }
    const other = $("other-size"), text = other.querySelector("input");
    $("size").addEventListener("change", () => {
      other.hidden = $("size").value !== OTHER;
      if (other.hidden) change("size", $("size").value ? $("size").value.split("x").map(Number) : null);
      else text.focus();
    });
    text.addEventListener("change", () => {
      const found = /^\s*(\d+)\s*[x×]\s*(\d+)\s*$/i.exec(text.value);
      if (found) change("size", [Number(found[1]), Number(found[2])]); else say("write height x width in pixels, such as 480x832", true);
    });
    for (const name of ["prompt", "negative"]) $(name).addEventListener("change", () => store.settle());
  }

  model(model) {
    this.about = model;
    if (!model.ready) return;
    $("fps").placeholder = model.fps[0];
    $("steps").placeholder = model.steps;
    for (const name of ["text", "image", "both"]) $(`g-${name}`).placeholder = model.guidance[name];
    for (const id of ["steps", "g-text", "g-image", "g-both", "solver"]) {
      $(id).disabled = model.distilled;
      if (model.distilled) $(id).value = "";
      $(id).title = model.distilled ? "This model was distilled for one way of sampling" : "";
    }
    $("negative").placeholder = model.negative_prompt || "what the video should not show";
    this.#schemes(model);
    this.draw(this.store.doc);
  }

  // Any scheme runs with any weights; only one of them was learned.
  #schemes({ scheme, schemes }) {
    $("scheme-field").hidden = !schemes.length;
    $("scheme-note").textContent = schemes.length ? `The weights were trained with ${scheme}. They can be given another one, which they have never learned: the measured bars show what comes of it.` : "";
    const wanted = [scheme, ...schemes].join();
    if ($("scheme").dataset.options === wanted) return;
    $("scheme").dataset.options = wanted;
    const others = schemes.filter((name) => name !== scheme).map((name) => make("option", { value: name }, `${name}, untrained`));
    $("scheme").replaceChildren(make("option", { value: "" }, `${scheme}, as trained`), ...others);
  }

  draw(doc) {
    if (!doc) return;
    const value = (id, next) => { if (document.activeElement !== $(id)) set($(id), "value", String(next ?? "")); };
    value("prompt", doc.prompt); value("negative", doc.negative_prompt); value("duration", short(doc.duration));
    value("fps", short(doc.fps)); value("seed", doc.seed);
    const sizes = (this.about?.sizes ?? []).map((size) => size.join("x"));
    const own = doc.size?.join("x");
    if (own && !sizes.includes(own)) sizes.push(own);
    const options = [["", sizes.length ? `${sizes[0]} (usual)` : "usual"], ...sizes.map((size) => [size, size])];
    if (this.about?.multiple) options.push([OTHER, "another…"]);
    const wanted = options.map(([each]) => each).join();
    if ($("size").dataset.options !== wanted) {
      $("size").dataset.options = wanted;
      $("size").replaceChildren(...options.map(([each, text]) => make("option", { value: each }, text)));
    }
    $("size").value = own ?? "";
    $("other-size").hidden = true;
    $("other-size").querySelector("input").placeholder = `multiples of ${this.about?.multiple}`;
    this.#keyframes(doc);
    $("undo").disabled = !this.store.canUndo;
    $("redo").disabled = !this.store.canRedo;
    const events = this.about?.events || this.labels();
    $("add-event").disabled = !events;
    $("add-event").title = events ? "" : "This model was not trained with events";
    this.inspect();
  }

  // The first and the last frame, for models that are given them.
  #keyframes(doc) {
    const taken = { first: 1, frames: 2, "latent frames": 2 }[this.about?.more_keyframes] ?? 0;
    const names = ["first_frame", "last_frame"].filter((name, i) => doc[name] || i < Math.max(taken, this.about?.keyframes ?? 0));
    $("keyframes").hidden = !names.length;
    const drawn = JSON.stringify(names.map((name) => [name, doc[name]]));
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    $("keyframes").replaceChildren(...names.map((name) => {
      const title = name.replace("_", " "), image = doc[name];
      return make("div", { class: "row" },
        make("button", { class: "picture", "aria-label": `Choose the ${title}`, onclick: () => this.pick((file) => this.editing.keyframe(name, file)) },
          image ? make("img", { src: pictureUrl(image), alt: "" }) : "+"),
        make("span", { class: "quiet" }, title),
        image ? make("button", { class: "x", "aria-label": `Remove the ${title}`, onclick: () => this.editing.keyframe(name, null) }, "×") : null);
    }));
  }

  check({ problem, warnings }) {
    const box = $("problem");
    box.className = `problem${problem ? "" : " mild"}`;
    box.textContent = problem ? `${problem.field ? `${problem.field}: ` : ""}${problem.text}` : warnings.join(" · ");
    const field = problem?.field ?? "";
    for (const name of ["prompt", "duration", "fps", "size", "seed"]) {
      $(name).toggleAttribute("aria-invalid", field === name || field.startsWith(`${name}[`));
    }
    const match = /^(subjects|events)\[(\d+)\]/.exec(field);
    const key = match && this.store.doc[match[1]][Number(match[2])]?.key;
    for (const [each, parts] of this.tracks.rows) parts.row.classList.toggle("wrong", each === key);
  }

  // Times of the chosen bar, by numbers.
  inspect() {
    const { chosen, ruler } = this.tracks, root = $("inspector");
    const row = chosen.size === 1 ? rowOfBar(this.store.doc, [...chosen][0]) : null;
    $("hint").textContent = chosen.size > 1 ? `${chosen.size} bars chosen` : "";
    for (const id of ["split", "duplicate", "remove"]) $(id).disabled = !chosen.size;
    if (!row) { root.replaceChildren(make("p", { class: "quiet" }, chosen.size ? "" : "Choose a bar to type its times, or draw one into a row.")); return; }
    const one = row.bars.find((each) => chosen.has(each.id));
    if (root.contains(document.activeElement) && this.inspected === one.id) {
      for (const part of ["start", "end"]) { const field = root.querySelector(`[name=${part}]`); if (field !== document.activeElement) field.value = short(one[part]); }
    } else {
      const field = (part, label) => make("label", { class: "inline" }, label, make("input", {
        type: "number", name: part, step: "any", min: 0, value: short(one[part]),
        onchange: (event) => { this.editing.edge(one.id, part, Number(event.target.value)); event.target.value = short(rowOfBar(this.store.doc, one.id)?.bars.find((each) => each.id === one.id)?.[part] ?? ""); },
      }));
      root.replaceChildren(make("b", {}, isEvent(row) ? row.text || "event" : row.word || "subject"), field("start", "from"), field("end", "to"), make("span", { class: "quiet mono", id: "frames-of" }));
      this.inspected = one.id;
    }
    const [from, to] = [ruler.nearest(one.start), ruler.nearest(one.end)];
    root.querySelector("#frames-of").textContent = `s · frames ${from} to ${to - 1}`;
  }
}
