// Files that are opened, dropped, pasted, cropped, saved and exported.

import { api, download, pictureUrl } from "./api.js";
import { $, fail, make, say, typing } from "./dom.js";

const isPicture = (file) => file.type.startsWith("image/");
const isBoard = (file) => /\.(ya?ml|json)$/i.test(file.name);
const isZip = (file) => /\.zip$/i.test(file.name);
const isVideo = (file) => file.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi)$/i.test(file.name);

const words = (name) => name.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").trim();

export class Files {
  constructor({ opened, editing, tracks, keyframes }) { Object.assign(this, { opened, editing, tracks, keyframes }); }

  // Opens what was chosen or dropped: a board with its pictures, pictures alone, or a video.
  async take(files, key = null) {
    try {
      const board = files.find(isBoard), zip = files.find(isZip), video = files.find(isVideo);
      const pictures = files.filter(isPicture);
      if (zip) await this.#told(await api.openZip(zip));
      else if (board) {
        const names = {};
        for (const file of pictures) names[file.name] = (await api.picture(file)).name;
        await this.#told(await api.open({ text: await board.text(), name: board.name, pictures: names }));
      } else if (video) {
        await api.annotate(video);
        say(`${video.name} is annotated now; its scenes become boards`);
      } else if (pictures.length) {
        if (key && pictures.length === 1) { await this.editing.picture(key, pictures[0]); return; }
        for (const file of pictures) this.editing.addSubject((await api.picture(file)).name, words(file.name));
      } else say("this is no picture, no storyboard and no video", true);
    } catch (error) { fail(error); }
  }

  async #told(board) {
    await this.opened(board);
    if (board.missing.length) say(`opened without pictures that were not given; drop or choose them: ${board.missing.join(", ")}`, true);
  }

  async export(board, format) {
    try {
      const { name, content, remarks } = await api.export(board, format);
      download(name, content);
      say(remarks || `${name} is saved`);
    } catch (error) { fail(error); }
  }

  // Everything that can be dropped, anywhere; pictures onto the row under the pointer.
  listen() {
    let depth = 0;
    const over = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (row) => { for (const parts of this.tracks.rows.values()) parts.row.classList.toggle("target", parts.row === row); };
    addEventListener("dragenter", (event) => { if (over(event)) { depth += 1; $("drop").hidden = false; } });
    addEventListener("dragleave", (event) => { if (over(event) && --depth <= 0) { depth = 0; $("drop").hidden = true; mark(null); } });
    addEventListener("dragover", (event) => { if (over(event)) { event.preventDefault(); mark(event.target.closest?.(".row")); } });
    addEventListener("drop", (event) => {
      depth = 0; $("drop").hidden = true; mark(null);
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      const files = [...event.dataTransfer.files], { target } = event;
      if (this.keyframes.taken && target.closest?.(".keys") && files.length === 1 && isPicture(files[0])) {
        this.keyframes.put(files[0], this.tracks.secondAt(event.clientX));
      } else this.take(files, target.closest?.(".row:not(.event)")?.dataset.key);
    });
    addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length || (typing(event.target) && !files.some(isPicture))) return;
      event.preventDefault();
      this.take(files, document.activeElement?.closest?.(".row:not(.event)")?.dataset.key);
    });
    $("open-file").addEventListener("change", () => { this.take([...$("open-file").files]); $("open-file").value = ""; });
  }

  // Chooses a file for a row, or crops the picture that it has.
  choose(key, image) { if (image) this.#crop(key, image); else this.#pick(key); }

  #pick(key) { this.pick((file) => this.editing.picture(key, file)); }

  // Hands on the picture that somebody chooses.
  pick(take) {
    const input = make("input", { type: "file", accept: "image/*", onchange: () => input.files[0] && take(input.files[0]) });
    input.click();
  }

  async #crop(key, name) {
    const dialog = $("crop"), image = new Image();
    image.src = pictureUrl(name);
    try { await image.decode(); } catch { this.#pick(key); return; }
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight, "aria-label": "The picture; drag to choose a part", role: "img" });
    const pen = canvas.getContext("2d");
    const box = { left: 0, top: 0, right: image.naturalWidth, bottom: image.naturalHeight };
    const fields = Object.keys(box).map((side) => make("label", { class: "inline" }, side, make("input", {
      type: "number", name: side, min: 0, max: side === "left" || side === "right" ? image.naturalWidth : image.naturalHeight, value: box[side],
      oninput: (event) => { box[side] = Number(event.target.value); draw(); },
    })));
    const draw = () => {
      pen.drawImage(image, 0, 0);
      pen.fillStyle = "rgb(0 0 0 / 55%)";
      pen.beginPath();
      pen.rect(0, 0, canvas.width, canvas.height);
      pen.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
      pen.fill("evenodd");
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const at = (each) => {
        const place = canvas.getBoundingClientRect();
        return [Math.round(((each.clientX - place.left) / place.width) * canvas.width), Math.round(((each.clientY - place.top) / place.height) * canvas.height)];
      };
      const from = at(event);
      const move = (next) => {
        const to = at(next), clip = (value, most) => Math.max(0, Math.min(most, value));
        [box.left, box.right] = [from[0], to[0]].map((x) => clip(x, canvas.width)).sort((a, b) => a - b);
        [box.top, box.bottom] = [from[1], to[1]].map((y) => clip(y, canvas.height)).sort((a, b) => a - b);
        for (const label of fields) { const input = label.querySelector("input"); input.value = box[input.name]; }
        draw();
      };
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerup", () => canvas.removeEventListener("pointermove", move), { once: true });
    });
    const keep = async () => {
      const width = Math.round(box.right - box.left), height = Math.round(box.bottom - box.top);
      if (width < 2 || height < 2) { say("choose a part of the picture first", true); return; }
      const part = make("canvas", { width, height });
      part.getContext("2d").drawImage(image, box.left, box.top, width, height, 0, 0, width, height);
      dialog.close();
      if (width === canvas.width && height === canvas.height) return;
      await this.editing.picture(key, await new Promise((resolve) => { part.toBlob(resolve); }));
    };
    dialog.replaceChildren(
      make("h2", { id: "crop-title" }, "Picture"), canvas, make("div", { class: "row" }, ...fields),
      make("div", { class: "row" },
        make("button", { onclick: () => { dialog.close(); this.#pick(key); } }, "Another picture…"),
        make("span", { class: "grow" }),
        make("button", { onclick: () => dialog.close() }, "Leave it"),
        make("button", { class: "primary", onclick: keep }, "Crop")));
    draw();
    dialog.showModal();
  }
}
