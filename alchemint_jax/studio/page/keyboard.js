// Everything that the timeline does, by keys. The list below is what the help shows.

import { $, make, typing } from "./dom.js";
import { isEvent } from "./store.js";

export const KEYS = [
  ["Tab", "to the timeline, and on from it"],
  ["↑ ↓", "to the bar in the row above or below"],
  ["[ ]", "to the bar before or after in the row"],
  ["Shift ↑ ↓ [ ]", "choose the bar there as well"],
  ["← →", "move chosen bars by a frame; with Shift to the next latent frame"],
  ["Alt ← →", "move their ends; with Shift too, their starts"],
  ["Enter", "choose the bar, or leave it out of those that are chosen"],
  ["Ctrl A, Esc", "choose all bars, or none"],
  ["N", "new bar at the playhead, in this row"],
  ["S, D, Del", "split at the playhead, duplicate, delete"],
  [", .", "playhead a frame back or on; Home and End"],
  ["+ − 0", "zoom in, out, fit"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
  ["Ctrl Enter", "render"],
  ["Space", "play or pause the result"],
  ["?", "this list"],
];

export function keyboard({ editing, tracks, undo, redo, addAt, player, render, scrubTick }) {
  function draw() {
    const { row } = editing;
    if (row && isEvent(row)) editing.addEvent(); else if (row) addAt(row, tracks.second);
  }

  function onTimeline(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      const part = event.altKey ? (event.shiftKey ? "start" : "end") : "move";
      if (event.shiftKey && !event.altKey) editing.leap(by, part); else editing.shift(by, part);
      return true;
    }
    switch (event.key) {
      case "ArrowUp": editing.walk(-1, 0, event.shiftKey); return true;
      case "ArrowDown": editing.walk(1, 0, event.shiftKey); return true;
      case "[": case "{": editing.walk(0, -1, event.shiftKey); return true;
      case "]": case "}": editing.walk(0, 1, event.shiftKey); return true;
      case "Enter": {
        if (event.target.matches(".track")) { draw(); return true; }
        const ids = new Set(tracks.chosen);
        if (!ids.delete(tracks.focus)) ids.add(tracks.focus);
        tracks.choose(ids, tracks.focus);
        return true;
      }
      case "Escape": tracks.choose([]); return true;
      case "n": case "N": draw(); return true;
      case "s": case "S": editing.split(); return true;
      case "d": case "D": editing.duplicate(); return true;
      case "Delete": case "Backspace": editing.remove(); return true;
      case "Home": scrubTick(-Infinity); return true;
      case "End": scrubTick(Infinity); return true;
      default: return false;
    }
  }

  function anywhere(event) {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "Enter") { render(); return true; }
    if (typing(event.target)) return false;
    if (command) {
      switch (event.key.toLowerCase()) {
        case "z": if (event.shiftKey) redo(); else undo(); return true;
        case "y": redo(); return true;
        case "a": editing.chooseAll(); return true;
        default: return false;
      }
    }
    switch (event.key) {
      case " ": if (event.target.closest?.("button, summary, a, [type=checkbox]")) return false; player.toggle(); return true;
      case ",": scrubTick(-1); return true;
      case ".": scrubTick(1); return true;
      case "+": case "=": tracks.zoom(1.5); return true;
      case "-": case "−": tracks.zoom(1 / 1.5); return true;
      case "0": tracks.zoom(0); return true;
      case "?": help(); return true;
      default: return false;
    }
  }

  addEventListener("keydown", (event) => {
    const dialog = event.target.closest?.("dialog");
    if (dialog || event.isComposing) return;
    const inside = tracks.root.contains(event.target) && !typing(event.target) && !event.target.closest("button");
    if (anywhere(event) || (inside && !event.ctrlKey && !event.metaKey && onTimeline(event))) event.preventDefault();
  });

  // The bar that Tab reaches is the one that keys are about.
  tracks.root.addEventListener("focusin", (event) => {
    const id = event.target.closest(".bar")?.dataset.id;
    if (!id) return;
    const elsewhere = id !== tracks.focus && tracks.chosen.size < 2;
    if (elsewhere || !tracks.chosen.size) tracks.choose([id], id);
    else tracks.focus = id;
  });
}

export function help() {
  const dialog = $("help");
  dialog.replaceChildren(
    make("h2", { id: "help-title" }, "Keys"),
    make("dl", {}, ...KEYS.flatMap(([keys, what]) => [make("dt", {}, keys), make("dd", {}, what)])),
    make("p", { class: "quiet" }, "With a pointer: drag a bar or its ends, drag over empty space for a new bar, Shift and drag "
      + "to choose several, Alt for no snapping, Ctrl and the wheel to zoom, the ruler to move the playhead."),
    make("div", { class: "row" }, make("button", { class: "primary", onclick: () => dialog.close() }, "Close")),
  );
  dialog.showModal();
}
