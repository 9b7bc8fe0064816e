// Pictures that the video itself shows at an instant: markers in a row above the subjects.

import { pictureUrl } from "./api.js";
import { make, set } from "./dom.js";
import { seconds } from "./ruler.js";
import { fresh } from "./store.js";

const STILL = 3; // pixels

export class Keyframes {
  constructor(tracks, store, { pick, upload, released }) {
    Object.assign(this, { tracks, store, pick, upload, released });
    this.markers = new Map();
    this.taken = false; // whether the model takes them at any time
    this.add = make("button", { "aria-label": "Add a keyframe at the playhead", onclick: () => this.choose(null) }, "+");
    this.label = make("div", { class: "label" }, make("span", { class: "title" }, "Keyframes"), this.add);
    this.row = make("div", { class: "keys", role: "group", "aria-label": "Keyframes", hidden: true }, this.label);
    tracks.body.before(this.row);
  }

  get #all() { return this.store.doc.keyframes; }

  #commit(keyframes) { this.store.commit({ ...this.store.doc, keyframes }); this.released(); }

  #change(key, change) { this.#commit(this.#all.map((one) => (one.key === key ? { ...one, ...change } : one))); }

  remove(key) { this.#commit(this.#all.filter((one) => one.key !== key)); }

  // Has somebody choose the picture of a keyframe, or of one that is new.
  choose(key) {
    this.pick(async (file) => {
      if (!key) { await this.put(file, this.tracks.second); return; }
      const image = await this.upload(file);
      if (image) this.#change(key, { image });
    });
  }

  // A new one, at a time.
  async put(file, second) {
    const image = await this.upload(file), { ruler } = this.tracks;
    if (image) this.#commit([...this.#all, { key: fresh(), image, at: ruler.ticks[Math.min(ruler.frames - 1, ruler.nearest(second))] }]);
  }

  draw(doc) {
    this.row.hidden = !doc.keyframes.length && !this.taken;
    this.add.disabled = !this.taken;
    this.add.title = this.taken ? "At the playhead" : "This model takes no keyframes between the first and the last frame";
    const kept = new Set(doc.keyframes.map((one) => one.key));
    for (const [key, marker] of this.markers) if (!kept.has(key)) { marker.remove(); this.markers.delete(key); }
    for (const one of doc.keyframes) {
      const marker = this.markers.get(one.key) ?? this.#make(one.key);
      this.#place(marker, one.at);
      set(marker, "ariaLabel", `Keyframe at ${seconds(one.at)}${one.image ? "" : ", without a picture"}`);
      if (marker.image !== one.image) {
        marker.image = one.image;
        marker.replaceChildren(one.image ? make("img", { src: pictureUrl(one.image), alt: "" }) : "+");
      }
    }
  }

  #place(marker, at) { marker.style.transform = `translateX(${this.tracks.label + this.tracks.x(at)}px) translateX(-50%)`; }

  #make(key) {
    let moved = false;
    const marker = make("button", {
      class: "keyframe", title: "Drag it to its time; click to choose its picture; Delete removes it",
      onclick: () => { if (!moved) this.choose(key); },
      onkeydown: (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], { ruler } = this.tracks;
        if (event.key === "Delete" || event.key === "Backspace") this.remove(key);
        else if (by) this.#change(key, { at: ruler.ticks[Math.max(0, Math.min(ruler.frames - 1, ruler.nearest(this.#at(key)) + by))] });
        else return;
        event.preventDefault();
        event.stopPropagation();
      },
      onpointerdown: (event) => {
        if (event.button !== 0) return;
        moved = false;
        const from = event.clientX, { ruler } = this.tracks;
        let at = this.#at(key);
        marker.setPointerCapture(event.pointerId);
        const move = (next) => {
          moved ||= Math.abs(next.clientX - from) >= STILL;
          if (!moved) return;
          at = ruler.ticks[Math.min(ruler.frames - 1, ruler.nearest(this.tracks.secondAt(next.clientX)))];
          this.#place(marker, at);
        };
        marker.addEventListener("pointermove", move);
        marker.addEventListener("lostpointercapture", () => {
          marker.removeEventListener("pointermove", move);
          if (moved) this.#change(key, { at });
        }, { once: true });
      },
    });
    this.markers.set(key, marker);
    this.row.append(marker);
    return marker;
  }

  #at(key) { return this.#all.find((one) => one.key === key).at; }
}
