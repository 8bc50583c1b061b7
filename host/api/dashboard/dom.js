// Elements made of text: nothing that a guest or a producer wrote is ever read as HTML.

/** An element. `attributes` may have listeners (`onclick`), `class`, and any attribute. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** A table. `columns` are `[title, kind]`; a row is a list of cells. */
export function table(columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const head = columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title));
  const body = rows.map((cells) =>
    h("tr", {}, cells.map((cell, at) => h("td", { class: columns[at][1] }, cell))));
  return h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

/** Pairs of a label and what it says; pairs that say nothing are left out. */
export function sheet(pairs) {
  const said = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", {}, said.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]));
}

export function badge(text) {
  return h("span", { class: `badge ${String(text).replace(/[^a-z_]/g, "")}` }, String(text).replaceAll("_", " "));
}

export function card(label, value, unit) {
  return h("div", { class: "card" },
    h("div", { class: "label" }, label),
    h("div", { class: "value" }, value, unit ? h("span", { class: "unit" }, unit) : null));
}

/** Say something at the edge of the page for a while. */
export function note(text, bad = false) {
  const shown = h("div", { class: bad ? "note bad" : "note" }, text);
  document.getElementById("notes").append(shown);
  setTimeout(() => shown.remove(), bad ? 12_000 : 5_000);
}

/** A button that does something which may fail, and says how it went. */
export function act(text, what, options = {}) {
  const button = h("button", { type: "button", class: options.class ?? "" , title: options.title }, text);
  button.addEventListener("click", async () => {
    if (options.confirm && !(await agreed(options.confirm, text))) return;
    button.disabled = true;
    try {
      const said = await what();
      if (said) note(said);
    } catch (problem) {
      note(problem.message, true);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/** Ask before what cannot be taken back. */
export function agreed(question, action) {
  return new Promise((resolve) => {
    const close = (answer) => () => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h("dialog", { "aria-label": action, oncancel: close(false) },
      h("p", {}, question),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: close(false) }, "Leave it"),
        h("button", { type: "button", class: "danger", onclick: close(true) }, action)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A form in a dialog; `send` gets it, and the dialog stays open if that fails. */
export function ask(title, fields, action, send) {
  const close = () => { dialog.close(); dialog.remove(); };
  const form = h("form", { class: "stack", method: "dialog" }, fields,
    h("div", { class: "row" },
      h("button", { type: "button", onclick: close }, "Cancel"),
      h("button", { type: "submit", class: "main" }, action)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const said = await send(form);
      close();
      if (said) note(said);
    } catch (problem) {
      note(problem.message, true);
    }
  });
  const dialog = h("dialog", { "aria-label": title, oncancel: close }, h("h2", {}, title), form);
  document.body.append(dialog);
  dialog.showModal();
}
