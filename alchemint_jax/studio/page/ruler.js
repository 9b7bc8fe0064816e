// Time on the page. Seconds become frames on the server alone, which sends the ticks: bars snap to
// those, and count in them.

export class Ruler {
  constructor({ ticks, latents, fps, frames }) { Object.assign(this, { ticks, latents, fps, frames }); }

  get end() { return this.ticks.at(-1); }

  // The number of the tick nearest to a time.
  nearest(second) {
    let low = 0, high = this.ticks.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.ticks[middle] <= second) low = middle; else high = middle;
    }
    return second - this.ticks[low] <= this.ticks[high] - second ? low : high;
  }

  // The frame that is shown at a time.
  frameAt(second) {
    const near = this.nearest(second);
    return Math.min(this.frames - 1, this.ticks[near] > second + 1e-9 ? near - 1 : near);
  }

  // The tick that a time snaps to: of frames, or of latent frames.
  snap(second, mode) {
    const near = this.nearest(second);
    if (mode !== "latents") return near;
    return this.latents.reduce((best, at) => (
      Math.abs(this.ticks[at] - second) < Math.abs(this.ticks[best] - second) ? at : best));
  }

  // The next latent boundary from a tick on, in one direction.
  beyond(tick, direction) {
    const found = direction > 0 ? this.latents.find((at) => at > tick) : this.latents.findLast((at) => at < tick);
    return found ?? (direction > 0 ? this.latents.at(-1) : 0);
  }
}

export const seconds = (value) => `${(Math.round(value * 1000) / 1000).toFixed(2)} s`;

// How far bars may be shifted, in ticks, before one meets the end or another bar of its row.
export function room(rows, chosen, ruler, part) {
  let low = -Infinity, high = Infinity;
  for (const row of rows) {
    for (const one of row.bars) {
      if (!chosen.has(one.id)) continue;
      const start = ruler.nearest(one.start), end = ruler.nearest(one.end);
      let before = 0, after = ruler.ticks.length - 1;
      for (const other of row.bars) {
        if (other.id === one.id || (part === "move" && chosen.has(other.id))) continue;
        if (other.end <= one.start + 1e-6) before = Math.max(before, ruler.nearest(other.end));
        if (other.start >= one.end - 1e-6) after = Math.min(after, ruler.nearest(other.start));
      }
      if (part !== "end") low = Math.max(low, before - start);
      if (part !== "start") high = Math.min(high, after - end);
      if (part === "start") high = Math.min(high, end - 1 - start);
      if (part === "end") low = Math.max(low, start + 1 - end);
    }
  }
  return [Math.min(low, 0), Math.max(high, 0)];
}

// The times of chosen bars, shifted by so many ticks as far as there is room.
export function shifted(rows, chosen, ruler, part, by) {
  const [low, high] = room(rows, chosen, ruler, part);
  const n = Math.max(low, Math.min(high, by));
  const times = new Map();
  for (const row of rows) {
    for (const one of row.bars) {
      if (!chosen.has(one.id)) continue;
      const start = part === "end" ? one.start : ruler.ticks[ruler.nearest(one.start) + n];
      const end = part === "start" ? one.end : ruler.ticks[ruler.nearest(one.end) + n];
      if (n) times.set(one.id, { start, end });
    }
  }
  return times;
}

// The same without snapping: by seconds.
export function shiftedFreely(rows, chosen, ruler, part, by) {
  const [low, high] = room(rows, chosen, ruler, part);
  const tick = ruler.ticks[1] - ruler.ticks[0];
  const n = Math.max(low * tick, Math.min(high * tick, by));
  const times = new Map();
  const move = (second) => Math.min(ruler.end, Math.max(0, Math.round((second + n) * 1000) / 1000));
  for (const row of rows) {
    for (const one of row.bars) {
      if (!chosen.has(one.id) || !n) continue;
      times.set(one.id, {
        start: part === "end" ? one.start : move(one.start),
        end: part === "start" ? one.end : move(one.end),
      });
    }
  }
  return times;
}
