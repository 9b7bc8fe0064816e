// The board that is drawn: immutable snapshots, one for each gesture, and the way back to each.
// Rows and keyframes have keys and bars have ids, which live in this window only.

let last = 0;
export const fresh = () => `n${++last}`;
export const bar = (start, end) => ({ id: fresh(), start, end });

export function fromBoard(board) {
  return {
    ...board,
    subjects: (board.subjects ?? []).map((one) => ({
      key: fresh(), word: one.word, image: one.image ?? null, bars: one.appears.map(([s, e]) => bar(s, e)),
    })),
    events: (board.events ?? []).map((one) => ({ key: fresh(), text: one.text, bars: [bar(...one.during)] })),
    keyframes: (board.keyframes ?? []).map((one) => ({ key: fresh(), image: one.image ?? null, at: one.at })),
  };
}

export function toBoard(doc) {
  const spans = (row) => row.bars.map((one) => [one.start, one.end]).sort((a, b) => a[0] - b[0]);
  const board = {
    ...doc,
    subjects: doc.subjects.map((row) => ({
      word: row.word, ...(row.image ? { image: row.image } : {}), appears: spans(row),
    })),
    events: doc.events.map((row) => ({ text: row.text, during: spans(row)[0] })),
    keyframes: doc.keyframes.map((one) => ({ ...(one.image ? { image: one.image } : {}), at: one.at })),
  };
  for (const [name, value] of Object.entries(board)) if (value === null || value === "") delete board[name];
  for (const name of ["events", "keyframes"]) if (!board[name].length) delete board[name];
  return { ...board, prompt: doc.prompt ?? "" };
}

export const rowsOf = (doc) => [...doc.subjects, ...doc.events];
export const rowOf = (doc, key) => rowsOf(doc).find((row) => row.key === key);
export const rowOfBar = (doc, id) => rowsOf(doc).find((row) => row.bars.some((one) => one.id === id));
export const isEvent = (row) => "text" in row;

// The document with another row in the place of one, or none.
export function withRow(doc, key, change) {
  const map = (rows) => rows.flatMap((row) => {
    if (row.key !== key) return [row];
    const changed = change(row);
    return changed ? [changed] : [];
  });
  return { ...doc, subjects: map(doc.subjects), events: map(doc.events) };
}

// The document with other times of some bars, by id.
export function withTimes(doc, times) {
  const map = (rows) => rows.map((row) => (row.bars.some((one) => times.has(one.id))
    ? { ...row, bars: row.bars.map((one) => (times.has(one.id) ? { ...one, ...times.get(one.id) } : one)) }
    : row));
  return { ...doc, subjects: map(doc.subjects), events: map(doc.events) };
}

const MOST = 500;

export class Store {
  #past = []; #future = []; #listeners = []; #merge = null;
  doc = null;

  listen(listener) { this.#listeners.push(listener); }
  #tell(how) { for (const listener of this.#listeners) listener(this.doc, how); }

  load(doc) {
    this.doc = doc; this.#past = []; this.#future = []; this.#merge = null;
    this.#tell("load");
  }

  // A gesture is done. Several with one `merge` in a row, such as letters of a word, are one.
  commit(doc, merge = null, how = "edit") {
    if (doc === this.doc) return;
    if (!merge || merge !== this.#merge) this.#past.push(this.doc);
    if (this.#past.length > MOST) this.#past.shift();
    this.#merge = merge; this.#future = []; this.doc = doc;
    this.#tell(how);
  }

  // The next gesture is one of its own.
  settle() { this.#merge = null; }

  get canUndo() { return this.#past.length > 0; }
  get canRedo() { return this.#future.length > 0; }

  undo() { this.#step(this.#past, this.#future); }
  redo() { this.#step(this.#future, this.#past); }
  #step(from, to) {
    if (!from.length) return;
    to.push(this.doc); this.doc = from.pop(); this.#merge = null;
    this.#tell("edit");
  }
}
