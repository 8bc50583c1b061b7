// A long table of which only what is in view is drawn, so that ten thousand rows stay smooth.
// Rows that stay in view stay the same elements: focus is kept while the list is scrolled.

import { h, nothing } from "./dom.js";

const ROW = 38; // Pixels; the style sheet holds rows of `.long` to it.
const AROUND = 12;

/**
 * `parts()` begins anew: an async iterator of lists of rows. `draw(item)` gives the cells of one. With `choose`, rows can be marked; it is told which are.
 */
export function longTable({ name, columns, parts, draw, empty, choose }) {
  let items = [];
  let drawn = new Map();
  const chosen = new Set();
  let source = parts();
  let done = false;
  let failed = null;
  let loading = null;
  let current = 0;
  const body = h("tbody");
  const spacer = () => h("tr", { class: "spacer", "aria-hidden": "true" }, h("td"));
  const [above, below] = [spacer(), spacer()];
  const all = h("input", { type: "checkbox", "aria-label": "Mark all that are loaded" });
  const header = [choose ? h("th", { class: "mark" }, all) : null,
    columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title))];
  const grid = h("table", { class: "long", role: "grid", "aria-label": name }, h("thead", {}, h("tr", {}, header)), body);
  const state = h("p", { class: "soft loaded", role: "status" });
  const frame = h("div", { class: "scroller" }, grid);
  const none = h("div", { hidden: true }, nothing(empty));
  const element = h("div", { class: "rows" }, frame, none, state);
  body.append(above, below);

  const reach = (row, yes) => row.querySelectorAll("a, input").forEach((one) => { one.tabIndex = yes ? 0 : -1; });
  const tell = () => choose?.([...chosen]);

  function row(item, at) {
    const made = h("tr", { "aria-rowindex": at + 2 },
      choose ? h("td", { class: "mark" }, mark(item)) : null,
      draw(item).map((cell, column) => h("td", { class: columns[column][1] }, cell)));
    reach(made, at === current);
    return made;
  }

  const mark = (item) => {
    const box = h("input", { type: "checkbox", "aria-label": `Mark ${item.id}` });
    box.checked = chosen.has(item);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(item); else chosen.delete(item);
      tell();
    });
    return box;
  };

  all.addEventListener("change", () => {
    chosen.clear();
    if (all.checked) for (const item of items) chosen.add(item);
    for (const [at, made] of drawn) made.querySelector("input").checked = chosen.has(items[at]);
    tell();
  });

  function render() {
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW) - AROUND);
    const last = Math.min(items.length, Math.ceil((frame.scrollTop + frame.clientHeight) / ROW) + AROUND);
    for (const [at, made] of drawn) {
      if (at >= first && at < last) continue;
      made.remove();
      drawn.delete(at);
    }
    let before = above;
    for (let at = first; at < last; at += 1) {
      let made = drawn.get(at);
      if (!made) {
        made = row(items[at], at);
        drawn.set(at, made);
        before.after(made);
      }
      before = made;
    }
    above.firstChild.style.height = `${first * ROW}px`;
    below.firstChild.style.height = `${(items.length - last) * ROW}px`;
    grid.setAttribute("aria-rowcount", done ? items.length + 1 : -1);
    const nobody = done && items.length === 0;
    none.hidden = !nobody;
    frame.hidden = nobody;
    const number = items.length.toLocaleString("en");
    const said = failed ?? (nobody ? "" : done ? `${number} in all` : `${number} loaded; scroll for more`);
    if (state.textContent !== said) state.textContent = said;
    if (!done && last + 100 > items.length) load();
  }

  /** Take the next part of a round; what an older round still gives counts no more. */
  function take(from, settle) {
    loading = from.next().then(({ value, done: over }) => {
      if (from === source) settle(over ? null : value);
    }).catch((problem) => {
      if (from === source) failed = problem.message;
      throw problem;
    }).finally(() => {
      if (from !== source) return;
      loading = null;
      render();
    });
    return loading;
  }

  function load() {
    if (loading || failed) return;
    take(source, (found) => {
      if (found === null) done = true;
      else for (const item of found) items.push(item);
    }).catch(() => {});
  }

  /** Show the list as it is now, from its beginning. If that fails, what was there stays. */
  async function reload() {
    const held = document.activeElement;
    let was = null;
    source = parts();
    const mine = source;
    await take(mine, (found) => {
      was = drawn.get(current)?.contains(held) ? held.tagName : null;
      items = found ?? [];
      done = found === null;
      failed = null;
      chosen.clear();
      all.checked = false;
      tell();
      for (const made of drawn.values()) made.remove();
      drawn = new Map();
      current = Math.min(current, Math.max(0, items.length - 1));
    });
    if (was && mine === source) drawn.get(current)?.querySelector(was)?.focus();
  }

  /** Give the focus to what is in a row, in the part of it that has the focus now. */
  function go(to, tag) {
    const at = Math.max(0, Math.min(items.length - 1, to));
    if (drawn.has(current)) reach(drawn.get(current), false);
    current = at;
    const top = at * ROW;
    const room = frame.clientHeight - 2 * ROW;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top > frame.scrollTop + room) frame.scrollTop = top - room;
    render();
    const made = drawn.get(at);
    if (!made) return;
    reach(made, true);
    (made.querySelector(tag) ?? made.querySelector("a"))?.focus({ preventScroll: true });
  }

  frame.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(frame.clientHeight / ROW) - 2);
    const to = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined || !event.target.closest("tbody")) return;
    event.preventDefault();
    go(to, event.target.tagName);
  });
  frame.addEventListener("focusin", (event) => {
    const at = Number(event.target.closest("tbody tr")?.ariaRowIndex ?? event.target.closest("tbody tr")?.getAttribute("aria-rowindex")) - 2;
    if (!(at >= 0) || at === current) return;
    if (drawn.has(current)) reach(drawn.get(current), false);
    current = at;
    reach(drawn.get(at), true);
  });
  let asked = false;
  frame.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; render(); });
  }, { passive: true });
  // Its room is known only when it has rows.
  new ResizeObserver(() => render()).observe(frame);
  queueMicrotask(load);
  return { element, reload, calm: () => chosen.size === 0 && frame.scrollTop === 0 && items.length <= 500 && !loading };
}
