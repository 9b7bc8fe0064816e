// What can be done to bars and rows, by button, key or command: each makes one snapshot.

import { api } from "./api.js";
import { fail, say } from "./dom.js";
import { bar, fresh, isEvent, rowOf, rowOfBar, rowsOf, withRow, withTimes } from "./store.js";
import { gapAround } from "./gestures.js";
import { shifted } from "./ruler.js";

export class Editing {
  constructor(store, tracks, released, limits) { Object.assign(this, { store, tracks, released, limits }); }

  #commit(doc, choose = null) {
    this.store.commit(doc);
    if (choose) this.tracks.choose(choose, choose[0] ?? null);
    this.released();
  }

  addSubject(image = null, word = "") {
    const { ruler } = this.tracks, row = { key: fresh(), word, image, bars: [bar(0, ruler.end)] };
    this.#commit({ ...this.store.doc, subjects: [...this.store.doc.subjects, row] });
    if (!word) this.tracks.rows.get(row.key).name.focus();
    return row.key;
  }

  addEvent() {
    const { ruler } = this.tracks, last = Math.max(0, ...this.store.doc.events.flatMap((row) => row.bars.map((one) => one.end)));
    const start = last < ruler.end ? last : 0;
    const end = ruler.ticks[Math.max(ruler.nearest(start) + 1, ruler.nearest(start + 1))] ?? ruler.end;
    const row = { key: fresh(), text: "", bars: [bar(start, Math.min(end, ruler.end))] };
    this.#commit({ ...this.store.doc, events: [...this.store.doc.events, row] });
    this.tracks.rows.get(row.key).name.focus();
  }

  removeRow(key) { this.#commit(withRow(this.store.doc, key, () => null)); }

  word(key, text) {
    this.store.commit(withRow(this.store.doc, key, (row) => ({ ...row, [isEvent(row) ? "text" : "word"]: text })), `word ${key}`);
  }

  // The name of a picture in the workspace; null if it is refused, which is said.
  async upload(file) {
    try { return (await api.picture(file)).name; } catch (error) { fail(error); return null; }
  }

  async picture(key, file) {
    const image = await this.upload(file);
    if (image) this.#commit(withRow(this.store.doc, key, (row) => ({ ...row, image })));
  }

  // A picture of the video itself, at its first or last frame; null takes it away.
  async keyframe(name, file) {
    const image = file && await this.upload(file);
    if (image || !file) this.#commit({ ...this.store.doc, [name]: image });
  }

  shift(by, part = "move") {
    const times = shifted(rowsOf(this.store.doc), this.tracks.chosen, this.tracks.ruler, part, by);
    if (times.size) this.#commit(withTimes(this.store.doc, times));
  }

  // To the next latent boundary.
  leap(direction, part = "move") {
    const { ruler, focus } = this.tracks;
    const one = rowOfBar(this.store.doc, focus)?.bars.find((each) => each.id === focus);
    if (!one) return;
    const tick = ruler.nearest(part === "end" ? one.end : one.start);
    this.shift(ruler.beyond(tick, direction) - tick, part);
  }

  // Sets an edge of a bar to a time that was typed.
  edge(id, part, second) {
    const { ruler } = this.tracks, row = rowOfBar(this.store.doc, id), one = row.bars.find((each) => each.id === id);
    const by = ruler.nearest(second) - ruler.nearest(one[part]);
    const times = shifted([row], new Set([id]), ruler, part, by);
    if (times.size) this.#commit(withTimes(this.store.doc, times));
  }

  split() {
    const { second, chosen, ruler } = this.tracks, at = ruler.ticks[ruler.nearest(second)];
    const made = [];
    const cut = (one, after) => {
      if (!chosen.has(one.id) || at <= one.start || at >= one.end || after >= one.end) return [one];
      const rest = bar(after, one.end);
      made.push(rest.id);
      return [{ ...one, end: at }, rest];
    };
    // A gap of one frame: bars that touch are one time on screen. Events may follow at once.
    const next = ruler.ticks[ruler.nearest(at) + 1];
    const subjects = this.store.doc.subjects.map((row) => ({ ...row, bars: row.bars.flatMap((one) => cut(one, next)) }));
    const events = this.store.doc.events.flatMap((row) => cut(row.bars[0], at).map((one, i) => ({ ...row, key: i ? fresh() : row.key, bars: [one] })));
    if (!made.length) { say("put the playhead inside a chosen bar to split it"); return; }
    this.#commit({ ...this.store.doc, subjects, events }, made);
  }

  // A copy of each chosen bar, in the next gap of its row; that of an event is one of its own.
  duplicate() {
    const { chosen, ruler } = this.tracks;
    let doc = this.store.doc;
    const made = [];
    for (const id of chosen) {
      const row = rowOfBar(doc, id);
      if (!row) continue;
      const one = row.bars.find((each) => each.id === id);
      const length = ruler.nearest(one.end) - ruler.nearest(one.start);
      const taken = isEvent(row) ? { bars: doc.events.flatMap((each) => each.bars) } : row;
      const times = [...taken.bars.map((each) => each.end), 0].map((end) => ruler.ticks[Math.min(ruler.nearest(end) + 1, ruler.ticks.length - 1)]);
      const gaps = times.map((time) => gapAround(taken, time, ruler)).filter((gap) => gap && gap[1] - gap[0] > 2);
      const gap = gaps.sort((a, b) => a[0] - b[0]).find((each) => each[0] >= ruler.nearest(one.end)) ?? gaps[0];
      if (!gap) { say("there is no room for a copy in this row"); continue; }
      const start = Math.min(gap[0] + 1, gap[1] - 1);
      const copy = bar(ruler.ticks[start], ruler.ticks[Math.min(start + length, gap[1] === ruler.ticks.length - 1 ? gap[1] : gap[1] - 1)]);
      made.push(copy.id);
      if (isEvent(row)) doc = { ...doc, events: [...doc.events, { ...row, key: fresh(), bars: [copy] }] };
      else doc = withRow(doc, row.key, (each) => ({ ...each, bars: [...each.bars, copy] }));
    }
    if (made.length) this.#commit(doc, made);
  }

  remove() {
    const { chosen, rows: drawn, root } = this.tracks, { row } = this;
    const byKeys = document.activeElement?.matches(".bar");
    if (!chosen.size) return;
    const rows = (list) => list.map((row) => ({ ...row, bars: row.bars.filter((one) => !chosen.has(one.id)) }));
    const doc = this.store.doc;
    this.#commit({ ...doc, subjects: rows(doc.subjects), events: rows(doc.events).filter((each) => each.bars.length) });
    if (!byKeys) return; // else keys would be about nothing now
    const left = rowOf(this.store.doc, row.key);
    if (left?.bars.length) this.tracks.choose([], left.bars[0].id); else (drawn.get(row.key)?.track ?? root).focus();
  }

  chooseAll() { this.tracks.choose(rowsOf(this.store.doc).flatMap((row) => row.bars.map((one) => one.id))); }

  // To the bar beside the one with the focus, in its row or in another one: alone, or as well.
  walk(rows, bars, more = false) {
    const all = rowsOf(this.store.doc), row = this.row ?? all[0];
    if (!row) return;
    const sorted = (each) => [...each.bars].sort((a, b) => a.start - b.start);
    const place = Math.max(0, sorted(row).findIndex((one) => one.id === this.tracks.focus));
    const other = all[(all.indexOf(row) + rows + all.length) % all.length];
    const list = sorted(other);
    if (!list.length) { this.tracks.rows.get(other.key).track.focus(); return; }
    const next = list[rows ? Math.min(place, list.length - 1) : (place + bars + list.length) % list.length];
    const { chosen, focus } = this.tracks, before = chosen.size || !row.bars.length ? chosen : [focus];
    this.tracks.choose(more ? [...before, next.id] : [next.id], next.id);
  }

  // The row with the focus, or that of the bar that Tab reaches.
  get row() {
    const { key } = document.activeElement?.closest(".rows .row")?.dataset ?? {};
    return rowOf(this.store.doc, key) ?? rowOfBar(this.store.doc, this.tracks.focus);
  }
}
