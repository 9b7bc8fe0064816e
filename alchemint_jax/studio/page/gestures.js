// What the pointer does on the timeline: move, resize, draw, choose many, scrub, zoom.

import { bar, rowOf, rowsOf, isEvent, withRow, withTimes } from "./store.js";
import { shifted, shiftedFreely } from "./ruler.js";

const HANDLE = 9, STILL = 3; // pixels

export function gestures(tracks, store, { snapMode, scrub, released }) {
  const root = tracks.inner;

  function zoneOf(element, clientX) {
    const box = element.getBoundingClientRect();
    const edge = Math.min(HANDLE, box.width / 4);
    return clientX < box.left + edge ? "start" : clientX > box.right - edge ? "end" : "move";
  }

  // Calls `move` at most once a frame until the pointer is let go, then `end(whether it moved)`.
  function follow(event, move, end) {
    const from = event.clientX, pointer = event.pointerId;
    let latest = event, asked = 0, moved = false, over = false;
    const step = () => { asked = 0; if (!over) move(latest); };
    const onmove = (next) => {
      latest = next;
      if (!moved && Math.abs(next.clientX - from) < STILL) return;
      moved = true;
      asked ||= requestAnimationFrame(step);
    };
    const stop = (keep) => {
      if (over) return;
      if (keep && moved) move(latest);
      over = true;
      cancelAnimationFrame(asked);
      root.removeEventListener("pointermove", onmove);
      root.removeEventListener("pointerup", onup);
      root.removeEventListener("pointercancel", oncancel);
      removeEventListener("keydown", onkey, true);
      if (root.hasPointerCapture(pointer)) root.releasePointerCapture(pointer);
      end(keep && moved);
    };
    const onup = (next) => { latest = next; stop(true); };
    const oncancel = () => stop(false);
    const onkey = (key) => { if (key.key === "Escape") { key.stopPropagation(); stop(false); } };
    root.setPointerCapture(pointer);
    root.addEventListener("pointermove", onmove);
    root.addEventListener("pointerup", onup);
    root.addEventListener("pointercancel", oncancel);
    addEventListener("keydown", onkey, true);
  }

  function drag(event, element) {
    const id = element.dataset.id, part = zoneOf(element, event.clientX);
    if (event.shiftKey || event.ctrlKey || event.metaKey) {
      const ids = new Set(tracks.chosen);
      if (!ids.delete(id)) ids.add(id);
      tracks.choose(ids, id);
      return;
    }
    tracks.choose(part === "move" && tracks.chosen.has(id) ? tracks.chosen : [id], id);
    const rows = rowsOf(store.doc), chosen = new Set(tracks.chosen);
    const held = rows.flatMap((row) => row.bars).find((one) => one.id === id);
    const grabbed = tracks.secondAt(event.clientX), edge = part === "end" ? held.end : held.start;
    const ruler = tracks.ruler;
    let times = new Map();
    const draw = (now) => {
      for (const row of rows) {
        for (const one of row.bars) {
          if (chosen.has(one.id)) tracks.placeBar(tracks.bars.get(one.id), { ...one, ...now.get(one.id) });
        }
      }
    };
    root.classList.add("dragging");
    follow(event, (next) => {
      const by = tracks.secondAt(next.clientX) - grabbed, mode = next.altKey ? "none" : snapMode();
      times = mode === "none" ? shiftedFreely(rows, chosen, ruler, part, by)
        : shifted(rows, chosen, ruler, part, ruler.snap(edge + by, mode) - ruler.nearest(edge));
      draw(times);
    }, (done) => {
      root.classList.remove("dragging");
      if (done && times.size) { store.commit(withTimes(store.doc, times)); released(); } else draw(new Map());
    });
  }

  // A new bar is drawn where there is none.
  function create(event, row) {
    const ruler = tracks.ruler, mode = snapMode(), at = tracks.secondAt(event.clientX);
    const gap = gapAround(row, at, ruler);
    if (!gap) return;
    const place = (a, b) => {
      const [from, to] = [a, b].map((x) => ruler.snap(x, mode === "none" ? "frames" : mode)).sort((x, y) => x - y);
      const start = Math.max(gap[0], Math.min(from, gap[1] - 1));
      return [ruler.ticks[start], ruler.ticks[Math.max(start + 1, Math.min(to, gap[1]))]];
    };
    const ghost = document.createElement("div");
    ghost.className = "bar ghost";
    let span = null;
    follow(event, (next) => {
      if (!ghost.isConnected) tracks.rows.get(row.key).track.append(ghost);
      span = place(at, tracks.secondAt(next.clientX));
      tracks.placeBar(ghost, { start: span[0], end: span[1] });
    }, (done) => {
      ghost.remove();
      if (done && span) add(row.key, span);
    });
  }

  function add(key, span) {
    const one = bar(...span);
    store.commit(withRow(store.doc, key, (row) => ({ ...row, bars: [...row.bars, one] })));
    tracks.choose([one.id], one.id);
    released();
  }

  // Shift and drag over empty space chooses all bars that it touches.
  function lasso(event) {
    const box = document.createElement("div");
    box.className = "lasso";
    const from = { x: event.clientX, y: event.clientY };
    follow(event, (next) => {
      if (!box.isConnected) root.append(box);
      const base = root.getBoundingClientRect();
      const [x1, x2] = [from.x, next.clientX].sort((a, b) => a - b), [y1, y2] = [from.y, next.clientY].sort((a, b) => a - b);
      Object.assign(box.style, { left: `${x1 - base.left}px`, top: `${y1 - base.top}px`, width: `${x2 - x1}px`, height: `${y2 - y1}px` });
      const touched = [...tracks.bars].filter(([, element]) => {
        const at = element.getBoundingClientRect();
        return at.right > x1 && at.left < x2 && at.bottom > y1 && at.top < y2;
      });
      tracks.choose(touched.map(([id]) => id));
    }, () => box.remove());
  }

  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest(".label, .keyframe")) return;
    const element = event.target.closest(".bar");
    const line = event.target.closest(".row");
    if (element) { event.preventDefault(); drag(event, element); return; }
    if (event.target.closest(".ruler, .grid") || !line) {
      event.preventDefault();
      scrub(tracks.secondAt(event.clientX));
      follow(event, (next) => scrub(tracks.secondAt(next.clientX)), () => {});
      return;
    }
    event.preventDefault();
    if (event.shiftKey) { lasso(event); return; }
    tracks.choose([]);
    const row = rowOf(store.doc, line.dataset.key);
    if (!isEvent(row)) create(event, row);
  });

  root.addEventListener("dblclick", (event) => {
    const line = event.target.closest(".row");
    if (!line || event.target.closest(".bar, .label")) return;
    const row = rowOf(store.doc, line.dataset.key);
    if (!isEvent(row)) addAt(row, tracks.secondAt(event.clientX));
  });

  // A bar of a second, or of what room there is, at a time.
  function addAt(row, second) {
    const ruler = tracks.ruler, gap = gapAround(row, second, ruler);
    if (!gap) return false;
    const start = Math.max(gap[0], Math.min(ruler.nearest(second), gap[1] - 1));
    const end = Math.min(gap[1], Math.max(start + 1, ruler.nearest(ruler.ticks[start] + 1)));
    add(row.key, [ruler.ticks[start], ruler.ticks[end]]);
    return true;
  }

  tracks.root.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    tracks.zoom(Math.exp(-event.deltaY / 300), event.clientX);
  }, { passive: false });

  root.addEventListener("pointermove", (event) => {
    const element = event.target.closest?.(".bar");
    if (element && !event.buttons) element.style.cursor = zoneOf(element, event.clientX) === "move" ? "grab" : "ew-resize";
  });

  return { addAt };
}

// The free ticks around a time in a row; null if a bar is there.
export function gapAround(row, second, ruler) {
  let low = 0, high = ruler.ticks.length - 1;
  for (const one of row.bars) {
    if (one.start <= second && second < one.end) return null;
    if (one.end <= second) low = Math.max(low, ruler.nearest(one.end));
    if (one.start > second) high = Math.min(high, ruler.nearest(one.start));
  }
  return high > low ? [low, high] : null;
}
