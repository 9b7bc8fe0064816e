// Small helpers for elements.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Writes only what differs: what somebody types into stays as it is.
export function set(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

let timer = 0;
export function say(text, wrong = false) {
  const box = $("say");
  box.textContent = text;
  box.classList.toggle("wrong", wrong);
  box.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => box.classList.remove("shown"), wrong ? 8000 : 3500);
}

export const fail = (error) => { console.error(error); say(error.message, true); };

// Asks before something is lost; resolves to whether it is to be done.
export function confirmed(text, action) {
  const dialog = $("confirm");
  return new Promise((resolve) => {
    dialog.replaceChildren(
      make("p", { id: "confirm-text" }, text),
      make("div", { class: "row" },
        make("button", { onclick: () => dialog.close("no") }, "Keep it"),
        make("button", { class: "primary danger", onclick: () => dialog.close("yes") }, action)),
    );
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

export const typing = (target) => target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, dialog");
