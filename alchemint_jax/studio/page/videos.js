// Videos that are annotated: dropped, followed, and then boards like others.

import { api } from "./api.js";
import { fail, make } from "./dom.js";

export class Videos {
  constructor(root, { open }) { Object.assign(this, { root, open, videos: new Map() }); }

  has(board) { return [...this.videos.values()].some((one) => one.boards.includes(board)); }

  load(videos) { this.videos = new Map(videos.map((one) => [one.id, one])); this.draw(); }

  hear(video) {
    const before = this.videos.get(video.id);
    if (video.state === "gone") this.videos.delete(video.id); else this.videos.set(video.id, video);
    this.draw();
    if (video.state === "done" && before?.state === "running" && video.boards.length) this.open(video.boards[0]);
  }

  draw() {
    this.root.closest("section").hidden = !this.videos.size;
    this.root.replaceChildren(...[...this.videos.values()].map((one) => {
      const busy = one.state === "queued" || one.state === "running";
      const open = one.boards.map((id, i) => make("button", { onclick: () => this.open(id) }, one.boards.length > 1 ? `Scene ${i + 1}` : "Open"));
      const what = busy ? "Cancel" : "Delete";
      return make("li", { class: one.state },
        make("div", { class: "what" }, make("b", {}, one.name), make("span", { class: "quiet" }, this.#note(one))),
        busy ? make("progress", { max: 1, value: one.total ? one.done / one.total : 0, "aria-label": `Progress of ${one.name}` }) : null,
        ...open,
        one.state === "done" ? make("a", { class: "button", href: `/api/videos/${one.id}/scenes.jsonl`, download: "scenes.jsonl", title: "With the bars as they are now" }, "scenes.jsonl") : null,
        make("button", { class: "x", title: what, "aria-label": `${what} ${one.name}`, onclick: () => api.removeVideo(one.id).catch(fail) }, "×"));
    }));
  }

  #note(one) {
    if (one.state === "queued") return "waits";
    if (one.state === "running") return `annotating, ${one.done} of ${one.total} stages`;
    if (one.state === "failed") return one.error;
    return one.boards.length ? `${one.boards.length} scene${one.boards.length > 1 ? "s" : ""}; correct the bars, and save them as scenes` : `no scene was kept${one.error ? `: it ${one.error}` : ""}`;
  }
}
