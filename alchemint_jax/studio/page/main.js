// Puts the page together: the board that is open, what it is saved as, and who tells whom.

import { api, listen } from "./api.js";
import { $, confirmed, fail, make, say } from "./dom.js";
import { Editing } from "./editing.js";
import { Files } from "./files.js";
import { gestures } from "./gestures.js";
import { Keyframes } from "./keyframes.js";
import { help, keyboard } from "./keyboard.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { Renders } from "./renders.js";
import { Ruler } from "./ruler.js";
import { Store, fromBoard, rowOf, toBoard } from "./store.js";
import { Tracks } from "./tracks.js";
import { Videos } from "./videos.js";

const tab = crypto.randomUUID();
const store = new Store();
const still = matchMedia("(prefers-reduced-motion: reduce)");
let open = { id: null, revision: null };
let saving = null, saver = null, unsaved = false, checking = 0;

const tracks = new Tracks($("tracks"), {
  word: (key, text) => editing.word(key, text),
  settle: () => store.settle(),
  picture: (key) => files.choose(key, rowOf(store.doc, key).image),
  removeRow: (key) => editing.removeRow(key),
  chosen: () => panel.inspect(),
  drawn: (doc) => keyframes.draw(doc),
});
const editing = new Editing(store, tracks, released);
const keyframes = new Keyframes(tracks, store, { pick: (take) => files.pick(take), upload: (file) => editing.upload(file), released });
const panel = new Panel(store, tracks, editing, (take) => files.pick(take), () => videos.has(open.id));
const files = new Files({ opened: async (board) => { await save(); show(board); }, editing, tracks, keyframes });
const player = new Player((frame) => { renders.follow(frame); if (renders.result) tracks.place(renders.result.ticks[frame]); });
const renders = new Renders(player, ghosts);
const videos = new Videos($("videos"), { open: (id) => select(id) });
const { addAt } = gestures(tracks, store, { snapMode: () => $("snap").value, scrub, released });
// The way back is a gesture, too, after which the clip of what there was is shown again.
const undo = () => { if (store.canUndo) { store.undo(); released(); } };
const redo = () => { if (store.canRedo) { store.redo(); released(); } };
keyboard({ editing, tracks, undo, redo, addAt, player, render, scrubTick });
files.listen();

// ---------------------------------------------------------------------------- the board

function show(board) {
  open = { id: board.id, revision: board.revision };
  unsaved = false;
  $("saved").textContent = "";
  history.replaceState(null, "", `#${board.id}`);
  store.load(fromBoard(board.board));
  renders.open(board.id);
  if (!still.matches && renders.result) player.play(); else player.pause();
  listBoards();
}

async function select(id) {
  try {
    await save();
    show(await api.board(id));
  } catch (error) { fail(error); await listBoards(); }
}

async function listBoards() {
  const { boards } = await api.boards();
  const title = (one) => one.prompt || (one.problem ? "unreadable" : one.subjects.filter(Boolean).join(", ")) || "new board";
  $("boards").replaceChildren(...boards.map((one) => make("option", { value: one.id }, title(one).slice(0, 70))));
  $("boards").value = open.id;
  return boards;
}

store.listen((doc, how) => {
  tracks.draw(doc);
  panel.draw(doc);
  if (how === "edit") { unsaved = true; $("saved").textContent = "saving…"; clearTimeout(saving); saving = setTimeout(() => save().catch(fail), 350); }
  ghosts(renders.result);
  clearTimeout(checking);
  checking = setTimeout(check, how === "load" ? 0 : 120);
});

async function check() {
  const { doc } = store;
  try {
    const found = await api.check(toBoard(doc), open.id);
    if (doc !== store.doc) return;
    if (found.rulers?.ticks.length) { tracks.ruler = new Ruler(found.rulers); tracks.draw(doc); panel.inspect(); }
    panel.check(found);
  } catch (error) { panel.check({ problem: { field: "", text: error.message }, warnings: [] }); }
}

// Never twice at once: the second would name a revision that the first replaces.
function save() {
  clearTimeout(saving);
  saver ??= saveAll().finally(() => { saver = null; });
  return saver;
}

async function saveAll() {
  while (unsaved) {
    const { doc } = store, board = open;
    unsaved = false;
    $("saved").textContent = "saving…";
    try {
      const kept = await api.change(board.id, toBoard(doc), board.revision).catch((error) => saveApart(doc, error));
      board.revision = kept.revision;
    } catch (error) {
      $("saved").textContent = "not saved"; unsaved = true;
      throw error;
    }
  }
  if ($("saved").textContent) $("saved").textContent = "saved";
}

// Another window was faster: what was drawn here is a board of its own from now on.
async function saveApart(doc, error) {
  const how = { 404: "deleted", 409: "changed" }[error.status];
  if (!how) throw error;
  const { id, revision } = await api.add({ board: toBoard(doc) });
  open = { id, revision };
  history.replaceState(null, "", `#${id}`);
  renders.open(id);
  await listBoards();
  say(`this board was ${how} in another window; what you drew is kept as a new one`, true);
  return open;
}

addEventListener("beforeunload", (event) => { if (unsaved || saver) { save().catch(() => {}); event.preventDefault(); } });

async function heardBoard({ id, revision }) {
  if (id !== open.id || revision === null) await listBoards().catch(() => {});
  else if ($("boards").selectedOptions[0] && store.doc.prompt) $("boards").selectedOptions[0].textContent = store.doc.prompt.slice(0, 70);
  if (id !== open.id || revision === open.revision) return;
  if (revision === null) { say("this board was deleted in another window", true); return; }
  await again();
}

// Loads the board that is open if another window has changed it; what is drawn here goes first.
async function again() {
  const mine = () => unsaved || saver;
  if (!open.id || mine()) return;
  try {
    const board = await api.board(open.id);
    if (board.id !== open.id || board.revision === open.revision || mine()) return;
    show(board);
    say("changed in another window, and loaded again");
  } catch (error) { fail(error); }
}

// ------------------------------------------------------------------------- time and renders

function scrub(second) {
  tracks.place(tracks.ruler.ticks[tracks.ruler.nearest(second)]);
  player.pause();
  if (renders.result) player.seek(new Ruler(renders.result).frameAt(second), false);
  renders.follow(player.frame);
}

function scrubTick(by) {
  const { ruler } = tracks, near = ruler.nearest(tracks.second) + by;
  scrub(ruler.ticks[Math.max(0, Math.min(ruler.ticks.length - 1, near))]);
}

// Measured spans of the shown render under the bars of the same subject.
function ghosts(result) {
  tracks.seen = new Map();
  const left = [...(result?.subjects ?? [])];
  for (const row of store.doc?.subjects ?? []) {
    const at = left.findIndex((one) => one.word.trim() === row.word.trim() && (one.image ?? null) === row.image);
    if (at >= 0) tracks.seen.set(row.key, left.splice(at, 1)[0].seen_seconds ?? []);
  }
  tracks.draw(store.doc);
}

const numeric = (id) => ($(id).value === "" ? undefined : Number($(id).value));

async function render(replaces = []) {
  $("render-problem").textContent = "";
  const first = store.doc.seed ?? 0, many = Number($("seeds").value);
  const guidance = Object.fromEntries(["text", "image", "both"].map((name) => [name, numeric(`g-${name}`)]).filter(([, value]) => value !== undefined));
  try {
    await renders.ask({
      board: toBoard(store.doc), id: open.id, tab, seeds: Array.from({ length: many }, (_, i) => first + i),
      steps: numeric("steps"), gating: numeric("gating"), guidance, replaces,
      solver: $("solver").value || undefined, scheme: $("scheme").value || undefined,
    });
  } catch (error) { $("render-problem").textContent = error.message.replace(/^board: /, ""); }
}

// A gesture is over.
function released() {
  document.dispatchEvent(new CustomEvent("released"));
  if (!$("live").checked) return;
  render(renders.waiting);
}

// ---------------------------------------------------------------------------------- buttons

const on = (id, action) => $(id).addEventListener("click", action);
on("render", () => render());
on("undo", undo); on("redo", redo);
on("split", () => editing.split()); on("duplicate", () => editing.duplicate()); on("remove", () => editing.remove());
on("add-subject", () => editing.addSubject()); on("add-event", () => editing.addEvent());
on("zoom-in", () => tracks.zoom(1.5)); on("zoom-out", () => tracks.zoom(1 / 1.5)); on("zoom-fit", () => tracks.zoom(0));
on("keys", help);
on("save-zip", () => files.export(toBoard(store.doc), "zip")); on("save-yaml", () => files.export(toBoard(store.doc), "yaml"));
on("new-board", async () => { try { await save(); show(await api.add({})); $("prompt").focus(); } catch (error) { fail(error); } });
on("copy-board", async () => { try { await save(); show(await api.add({ board: toBoard(store.doc) })); } catch (error) { fail(error); } });
on("delete-board", async () => {
  try {
    if (!(await confirmed("Delete this board? Its renders stay on the disk.", "Delete"))) return;
    clearTimeout(saving); unsaved = false;
    const removed = open;
    open = { id: null, revision: null }; // what is told of it from now on is no news
    await api.remove(removed.id).catch((error) => { open = removed; throw error; });
    const boards = await listBoards();
    show(boards.length ? await api.board(boards[0].id) : await api.add({}));
  } catch (error) { fail(error); }
});
$("boards").addEventListener("change", () => select($("boards").value));
$("file-menu").addEventListener("click", (event) => { if (event.target.closest("button, input")) $("file-menu").open = false; });
addEventListener("click", (event) => { for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false; });
on("theme", () => {
  const now = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  localStorage.theme = document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  tracks.draw(store.doc);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tracks.draw(store.doc));
if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;

// ------------------------------------------------------------------------------- the server

function heardState(state) {
  const { model } = state;
  $("model").textContent = model.failed || (model.ready ? model.name : `${model.name} is loading…`);
  $("model").className = `badge ${model.failed ? "bad" : model.ready ? "good" : ""}`;
  $("model").title = model.says ?? "";
  keyframes.taken = ["frames", "latent frames"].includes(model.more_keyframes);
  panel.model(model);
  if (model.ready) [renders.fps] = model.fps;
  renders.load(state.jobs, state.queue);
  videos.load(state.videos);
  if (!$("formats").childElementCount) {
    const item = (text, action) => make("button", { class: "item", onclick: action }, text);
    $("formats").append(...state.formats.filter((name) => !["yaml", "zip"].includes(name)).map((name) => item(name, () => files.export(toBoard(store.doc), name))));
    $("examples").append(...state.examples.map((name) => item(name.replaceAll("_", " "), async () => { try { await save(); show(await api.add({ example: name })); } catch (error) { fail(error); } })));
  }
}

async function begin() {
  const state = await api.state();
  heardState(state);
  const boards = await listBoards();
  const wanted = boards.find((one) => one.id === location.hash.slice(1)) ?? boards[0];
  show(wanted ? await api.board(wanted.id) : await api.add({ example: state.examples[0] }));
  listen({
    state: (state) => { heardState(state); again(); },
    model: async () => { heardState(await api.state()); check(); },
    job: (job) => renders.hear(job), gone: ({ id }) => renders.gone(id), queue: (order) => renders.queue(order),
    preview: (what) => renders.preview(what), board: heardBoard, video: (video) => videos.hear(video),
  });
}
begin().catch(fail);
