// Elements made of text: nothing that a guest or a producer wrote is ever read as HTML, and what
// would not be seen, or would turn the text around it, is written out.

const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Text whose every sign can be seen: controls, ANSI and bidi signs as `\u{1b}`. */
export const visible = (text) => String(text).replaceAll("\r\n", "\n").replace(UNSEEN, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);

/** The same within JSON, which stays what it was. */
export const visibleJson = (json) => json.replace(UNSEEN, (sign) => [...Array(sign.length).keys()].map((at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""));

/** An element. `attributes` may have listeners (`onclick`), `class`, and any attribute. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

const SHOWN = new Set(["title", "aria-label", "placeholder"]);

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) on(element, key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : SHOWN.has(key) ? visible(value) : String(value));
  }
  return append(element, children);
}

const handlers = new WeakMap();

/** Listen, in such a way that a redraw can give the element another listener. */
function on(element, kind, what) {
  const known = handlers.get(element) ?? {};
  handlers.set(element, known);
  if (!(kind in known)) element.addEventListener(kind, (event) => handlers.get(element)[kind]?.(event));
  known[kind] = what;
}

export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : visible(child));
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/**
 * The same for what is drawn again and again: elements that stay what they were stay where they
 * are, so that focus, selection and what was folded open stay too. Nobody may hold on to `children`.
 */
export function redraw(element, ...children) {
  follow(element, append(document.createDocumentFragment(), children));
  return element;
}

function follow(there, wanted) {
  const nodes = [...wanted.childNodes];
  nodes.forEach((node, at) => {
    const known = there.childNodes[at];
    if (!known) there.append(node);
    else if (known.nodeName !== node.nodeName) known.replaceWith(node);
    else if (node.nodeType === Node.TEXT_NODE) { if (known.data !== node.data) known.data = node.data; }
    else become(known, node);
  });
  while (there.childNodes.length > nodes.length) there.lastChild.remove();
}

function become(known, node) {
  for (const { name } of [...known.attributes]) {
    const users = name === "aria-disabled" || (name === "open" && known.nodeName === "DETAILS");
    if (!users && !node.hasAttribute(name)) known.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    const users = name === "open" && known.nodeName === "DETAILS";
    if (!users && known.getAttribute(name) !== value) known.setAttribute(name, value);
  }
  const theirs = handlers.get(node) ?? {};
  for (const kind of Object.keys({ ...handlers.get(known), ...theirs })) on(known, kind, theirs[kind]);
  follow(known, node);
}

/** A table. `columns` are `[title, kind]`; a row is a list of cells. */
export function table(columns, rows, empty) {
  if (rows.length === 0) return nothing(empty);
  const head = columns.map(([title, kind]) => h("th", { scope: title ? "col" : null, class: kind }, title));
  const body = rows.map((cells) =>
    h("tr", {}, cells.map((cell, at) => h("td", { class: columns[at][1] }, cell))));
  return h("div", { class: "across" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** What is said where there is nothing, and what to do about it. */
export function nothing(text, ...more) {
  return h("div", { class: "nothing" }, s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" },
    s("path", { d: "M4 13l2.5-8h11L20 13v6H4zM4 13h5l1 2.5h4l1-2.5h5" })), h("p", {}, text), more);
}

/** Pairs of a label and what it says; pairs that say nothing are left out. */
export function sheet(pairs) {
  const said = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", {}, said.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]));
}

export function badge(text) {
  return h("span", { class: `badge ${String(text).replace(/[^a-z_]/g, "")}` }, String(text).replaceAll("_", " "));
}

/** A figure, and how it went of late. */
export function card(label, value, unit, { line, href, tone } = {}) {
  return h(href ? "a" : "div", { class: `card${tone ? ` ${tone}` : ""}`, href },
    h("div", { class: "label" }, label),
    h("div", { class: "value" }, value, unit ? h("span", { class: "unit" }, unit) : null),
    line);
}

export function panel(title, ...children) {
  return h("section", { class: "panel" }, title ? h("h2", {}, title) : null, children);
}

/** The head of a page: its title, what stands beside it, what can be done. */
export function head(title, beside, actions) {
  return h("div", { class: "head" }, h("h1", {}, title), beside, h("div", { class: "actions" }, actions));
}

/** Say something at the edge of the page for a while. */
export function note(text, bad = false) {
  const shown = h("div", { class: bad ? "note bad" : "note" }, text);
  document.getElementById("notes").append(shown);
  setTimeout(() => shown.remove(), bad ? 12_000 : 5_000);
}

/** Do something again and again until `signal` ends it; what fails is tried the next time. */
export function every(ms, signal, what) {
  const timer = setInterval(() => { if (!document.hidden) what().catch(() => {}); }, ms);
  signal.addEventListener("abort", () => clearInterval(timer));
  return () => clearInterval(timer);
}
