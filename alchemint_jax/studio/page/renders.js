// The renders of a board: asked for, followed, shown, compared.

import { api } from "./api.js";
import { $, confirmed, fail, make, say } from "./dom.js";
import { drawMeasured, errorText, placeNow } from "./measured.js";

const file = (job, name) => `/api/renders/${job.id}/${name}`;
const duration = (s) => (s < 60 ? `${Math.max(1, Math.round(s))} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);
const unfinished = (job) => job.state === "queued" || job.state === "running";
const same = (job) => `the same clip as #${job.same_as}, not rendered again`;

export class Renders {
  constructor(player, changed) {
    Object.assign(this, { player, changed });
    this.jobs = new Map();
    this.items = new Map();
    this.order = [];
    this.board = null;
    this.fps = 8; // of previews: the model's
    player.chosen = (id) => { this.chosen = id; this.#measure(); };
    this.shown = []; // ids of what the screens show
    this.chosen = null; // the one of them that is measured, if it is not the first
    this.compare = null;
    this.awaited = []; // ids of the last request: they are shown as they come
    this.asked = []; // those of this window
    this.previewed = new Map(); // what there is to see of renders that run, by id
  }

  // All there are by now: this window may have missed what was told while nobody looked at it.
  load(jobs, order) {
    const before = this.jobs;
    this.jobs = new Map(jobs.map((job) => [job.id, job]));
    this.order = order;
    if (!this.jobs.has(this.compare)) this.compare = null;
    if (this.shown.some((id) => !this.jobs.has(id))) this.show(this.shown);
    this.list();
    for (const job of this.mine()) if (job.state === "done" && before.get(job.id)?.state !== "done") this.#done(job);
  }

  open(board) {
    this.board = board;
    this.shown = []; this.compare = null;
    const done = this.mine().filter((job) => job.state === "done"), busy = this.mine().filter(unfinished);
    if (!busy.some((job) => this.awaited.includes(job.id))) this.awaited = busy.slice(0, 4).map((job) => job.id);
    this.list();
    this.show(done.length ? [done.at(-1).id] : []);
  }

  mine() { return [...this.jobs.values()].filter((job) => job.board === this.board).sort((a, b) => a.number - b.number); }
  get measured() { return this.jobs.get(this.shown.includes(this.chosen) ? this.chosen : this.shown[0]) ?? null; }
  get result() { return this.measured?.result ?? null; }

  hear(job) {
    const before = this.jobs.get(job.id);
    this.jobs.set(job.id, job);
    if (job.board !== this.board) return;
    if (job.state === "done" && before?.state !== "done") this.#done(job);
    if (job.state === "failed" && before?.state !== "failed") say(job.error, true);
    if (!unfinished(job) && !this.awaited.includes(job.id)) this.previewed.delete(job.id);
    this.list();
  }

  async #done(job) {
    if (!this.awaited.includes(job.id)) return;
    await this.show(this.awaited);
    this.previewed.delete(job.id);
    document.dispatchEvent(new CustomEvent("finished", { detail: { id: job.id } }));
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.player.play();
    else if (!this.player.frame) this.player.seek(this.player.frames >> 1); // the first one often shows nobody
  }

  // Those that this window asked for last and that are not there yet.
  get waiting() { return this.asked.filter((id) => this.jobs.has(id) && unfinished(this.jobs.get(id))); }

  gone(id) {
    this.jobs.delete(id);
    this.shown = this.shown.filter((one) => one !== id);
    if (this.compare === id) this.compare = null;
    this.list();
    this.show(this.shown);
  }

  queue(order) { this.order = order; this.list(); }

  async preview({ id, strip, jpeg }) {
    const job = this.jobs.get(id);
    if (!job || job.board !== this.board) return;
    this.previewed.set(id, { strip, source: `data:image/jpeg;base64,${jpeg}` });
    if (!this.awaited.includes(id)) return; // or not yet: it may come before the answer to who asked
    if (!this.shown.includes(id)) await this.show(this.awaited);
    else await this.player.preview(id, strip, jpeg);
    document.dispatchEvent(new CustomEvent("preview"));
  }

  async ask(content) {
    const { jobs } = await api.render(content);
    this.awaited = this.asked = jobs.map((job) => job.id);
    this.compare = null;
    for (const job of jobs) if (!this.jobs.has(job.id)) this.jobs.set(job.id, job);
    this.list();
    if (this.awaited.some((id) => this.previewed.has(id))) { await this.show(this.awaited); document.dispatchEvent(new CustomEvent("preview")); }
    const done = jobs.map((job) => this.jobs.get(job.id)).filter((job) => job.state === "done");
    for (const job of done) await this.#done(job); // at once, or before this answer came
    return jobs;
  }

  // Shows those of these that there is something to show of.
  async show(ids) {
    const can = ids.map((id) => this.jobs.get(id)).filter((job) => job && (job.result || this.previewed.has(job.id)));
    this.shown = can.map((job) => job.id);
    $("result").hidden = !can.length;
    if (!can.length) { drawMeasured($("measured"), null); this.changed(null); return; }
    const pair = this.compare && can.length === 1 ? [can[0], this.jobs.get(this.compare)] : can;
    const views = pair.map((job) => this.#view(job));
    await this.player.show(views, pair !== can).catch(fail);
    this.#measure();
  }

  // Under the scrubber: what is known of one of the clips that are shown.
  #measure() {
    const { result, measured: job } = this;
    for (const screen of this.player.screens) screen.button.setAttribute("aria-pressed", String(screen.id === job?.id));
    drawMeasured($("measured"), result);
    if (result) {
      const { steps, solver, seconds, size } = result;
      $("about").textContent = result.video ? `${result.video}, ${size.join(" × ")}, ${result.frames} frames: bars can be corrected above` : `#${job.number}: ${size.join(" × ")}, ${result.frames} frames, ${steps} steps of ${solver}${job.ask.scheme ? `, intervals by ${job.ask.scheme}` : ""}, ${job.same_as ? same(job) : duration(seconds)}`;
    } else $("about").textContent = "";
    this.list();
    this.changed(result);
    this.follow(this.player.frame);
  }

  #view(job) {
    const title = job.video || `#${job.number}, seed ${job.ask.seed}`;
    if (job.result) {
      const { strip, fps, frames } = job.result;
      return { id: job.id, title, strip, fps, frames, source: file(job, "strip.png") };
    }
    const { strip, source } = this.previewed.get(job.id);
    return { id: job.id, title: `${title}, preview`, strip, source, fps: this.fps, frames: strip.frames };
  }

  // Where the scrubber is, in the rows below it.
  follow(frame) {
    const { result } = this;
    if (result) placeNow($("measured"), (result.ticks[frame] + result.ticks[frame + 1]) / 2, result.ticks.at(-1));
  }

  list() {
    const mine = this.mine().reverse();
    $("no-renders").hidden = mine.length > 0;
    const kept = new Set(mine.map((job) => job.id));
    for (const [id, item] of this.items) if (!kept.has(id)) { item.element.remove(); this.items.delete(id); }
    let before = null;
    for (const job of mine) {
      const item = this.items.get(job.id) ?? this.#item(job);
      this.#draw(item, job);
      if (before ? before.nextSibling !== item.element : $("renders").firstChild !== item.element) {
        if (before) before.after(item.element); else $("renders").prepend(item.element);
      }
      before = item.element;
    }
  }

  #item(job) {
    const name = `render ${job.number}`;
    const item = { element: make("li", {}), title: make("b"), note: make("span", { class: "quiet" }), bar: make("progress", { max: 1, value: 0, "aria-label": `Progress of ${name}` }) };
    item.show = make("button", { onclick: () => { this.compare = null; this.awaited = []; this.show([job.id]); } }, "Show");
    item.compare = make("button", { title: "Compare with what is shown, by a wipe", onclick: () => this.#compare(job.id) }, "Compare");
    item.save = make("a", { class: "button", href: file(job, "clip.mp4"), download: `render-${job.number}.mp4` }, "mp4");
    item.remove = make("button", { class: "x", onclick: () => this.#remove(job.id) }, "×");
    for (const [part, what] of [[item.show, "Show"], [item.compare, "Compare"], [item.save, "Download"]]) part.setAttribute("aria-label", `${what} ${name}`);
    item.element.append(make("div", { class: "what" }, item.title, item.note), item.bar, item.show, item.compare, item.save, item.remove);
    this.items.set(job.id, item);
    return item;
  }

  #draw(item, job) {
    const busy = unfinished(job), done = job.state === "done";
    item.element.className = `${job.state}${this.shown.includes(job.id) ? " shown" : ""}`;
    item.title.textContent = job.video ? `#${job.number}  ${job.video}` : `#${job.number}  seed ${job.ask.seed}`;
    item.note.textContent = this.#note(job);
    item.bar.hidden = job.state !== "running";
    item.bar.value = job.total ? job.done / job.total : 0;
    item.show.hidden = item.save.hidden = !done;
    item.compare.hidden = !done || !this.result || this.shown[0] === job.id;
    item.compare.setAttribute("aria-pressed", String(this.compare === job.id));
    const what = busy ? "Cancel" : "Delete";
    item.remove.title = what;
    item.remove.setAttribute("aria-label", `${what} render ${job.number}`);
  }

  #note(job) {
    const place = this.order.indexOf(job.id);
    switch (job.state) {
      case "queued": return place > 0 ? `waits, ${place} before it` : "waits";
      case "running": return `${job.done} of ${job.total || "…"} steps${job.left ? `, ${duration(job.left)} left` : ""}`;
      case "failed": return job.error;
      case "cancelled": return "cancelled";
      default: return [...(job.same_as ? [same(job)] : []), ...job.result.subjects.map((row) => `${row.word}: ${errorText(row)}`)].join(" · ") || "done";
    }
  }

  #compare(id) {
    this.compare = this.compare === id ? null : id;
    this.show(this.shown.slice(0, 1));
  }

  async #remove(id) {
    const job = this.jobs.get(id);
    try {
      if (job.state === "done" && !(await confirmed(`Delete render ${job.number} and its video?`, "Delete"))) return;
      await api.removeRender(id);
    } catch (error) { fail(error); }
  }
}
