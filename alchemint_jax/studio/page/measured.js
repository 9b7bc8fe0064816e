// Under the scrubber: what was asked for, what was measured, and what was attended, by subject.

import { pictureUrl } from "./api.js";
import { make } from "./dom.js";

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const tidy = (value) => `${Math.round(value * 10) / 10}`;

export function errorText(row) {
  if (row.seen_seconds === null) return row.remark || "not measured";
  if (!row.seen_seconds.length) return "never seen";
  if (row.error === null && row.iou === null) return row.remark;
  if (row.error === null) return "seen at other times";
  if (row.error === 0) return "to the frame";
  return `${tidy(row.error)} ${row.error === 1 ? "frame" : "frames"} off`;
}

// How good a row is, for its colour, which text says as well.
const grade = (row) => (row.iou === null ? "" : row.error === null ? "bad" : row.error <= 1 ? "good" : row.error <= 4 ? "fair" : "bad");

const signed = (value) => (value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0");

function detail(row) {
  const parts = row.starts.map((start, i) => {
    const how = [start, row.ends[i]].map((n, j) => `${j ? "ends" : "starts"} ${n === 0 ? "in time" : `${plural(Math.abs(n), "frame")} ${n > 0 ? "late" : "early"}`}`);
    return how.join(", ");
  });
  if (row.identity === false) parts.push("looks like somebody else");
  if (row.remark && row.iou !== null) parts.push(row.remark);
  return parts.join("; ");
}

function spans(list, kind, end, marks = []) {
  return list.map(([from, to], i) => {
    const element = make("i", { class: kind });
    element.style.left = `${(from / end) * 100}%`;
    element.style.width = `${((to - from) / end) * 100}%`;
    if (marks[i]) element.append(...marks[i]);
    return element;
  });
}

function heat(row, result) {
  const { ticks, latents } = result, end = ticks.at(-1), most = Math.max(...row.attention, 1e-9);
  const cells = row.attention.map((value, i) => {
    const cell = make("i", { class: "cell" });
    const from = ticks[latents[i]], to = ticks[latents[i + 1]];
    cell.style.left = `${(from / end) * 100}%`;
    cell.style.width = `${((to - from) / end) * 100}%`;
    cell.style.opacity = 0.06 + 0.94 * (value / most);
    return cell;
  });
  const label = `Attention of each latent frame to the picture of ${row.word}, in thousandths: ${row.attention.map((value) => Math.round(value * 1000)).join(", ")}`;
  return make("div", { class: "heat-lane", role: "img", "aria-label": label, title: label }, ...cells);
}

export function drawMeasured(root, result) {
  if (!result) { root.replaceChildren(); return; }
  const end = result.ticks.at(-1);
  root.replaceChildren(
    make("div", { class: "measured-key quiet" }, make("span", {}, make("i", { class: "key asked" }), " asked for"),
      make("span", {}, make("i", { class: "key seen" }), " measured"), make("span", {}, make("i", { class: "key heat" }), " attention to its picture")),
    ...result.subjects.map((row, number) => {
      const said = detail(row);
      const seen = row.seen_seconds ?? [];
      const element = make("div", { class: "measured-row", role: "group", "aria-label": `${row.word}: ${errorText(row)}${said ? `; ${said}` : ""}` },
        make("div", { class: "who" },
          row.image ? make("img", { src: pictureUrl(row.image), alt: "" }) : null,
          make("b", {}, row.word),
          make("span", { class: `grade ${grade(row)}`, title: said }, errorText(row))),
        make("div", { class: "times" },
          make("div", { class: "asked-lane" }, ...spans(row.asked_seconds, "asked", end)),
          make("div", { class: "seen-lane" }, ...spans(seen, "seen", end)),
          ...(row.starts.length ? [make("div", { class: "errors mono", "aria-hidden": "true" }, ...row.starts.flatMap((start, i) => [
            mark(row.asked_seconds, i, 0, start, end), mark(row.asked_seconds, i, 1, row.ends[i], end)]))] : []),
          row.attention ? heat(row, result) : null,
          make("div", { class: "now", "aria-hidden": "true" })),
      );
      element.dataset.look = number % 6;
      return element;
    }),
  );
}

// How many frames late a boundary is, under the boundary.
function mark(asked, index, edge, error, end) {
  const element = make("span", { class: Math.abs(error) <= 1 ? "fine" : "off" }, signed(error));
  const at = (asked[Math.min(index, asked.length - 1)][edge] / end) * 100;
  element.style.left = `${at}%`;
  element.style.transform = `translateX(-${at}%)`; // inside at both ends
  return element;
}

export function placeNow(root, second, end) {
  for (const line of root.querySelectorAll(".now")) line.style.left = `${Math.min(1, second / end) * 100}%`;
}
