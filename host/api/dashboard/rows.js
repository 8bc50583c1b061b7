// A long table of which only what is in view is drawn, so that ten thousand rows stay smooth.

import { h } from "./dom.js";

const ROW = 37; // Pixels; the style sheet holds rows of `.long` to it.
const AROUND = 12;

/**
 * `more()` gives the next rows, or null when there are none. `draw(item)` gives the cells of one.
 * With `choose`, rows can be marked; it is told how many are.
 */
export function longTable({ columns, more, draw, empty, choose }) {
  const items = [];
  const chosen = new Set();
  let done = false;
  let loading = null;
  const body = h("tbody");
  const above = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns.length + 1 }));
  const below = above.cloneNode(true);
  const all = h("input", { type: "checkbox", "aria-label": "Mark all that are loaded" });
  const head = [choose ? h("th", { scope: "col" }, all) : null,
    columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title))];
  const grid = h("table", { class: "long" }, h("thead", {}, h("tr", {}, head)), body);
  const state = h("p", { class: "empty", role: "status" });
  const frame = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Rows" }, grid);
  const element = h("div", {}, frame, state);

  const row = (item, at) => h("tr", { "aria-rowindex": at + 2 },
    choose ? h("td", {}, mark(item)) : null,
    draw(item).map((cell, column) => h("td", { class: columns[column][1] }, cell)));

  const mark = (item) => {
    const box = h("input", { type: "checkbox", "aria-label": `Mark ${item.id}` });
    box.checked = chosen.has(item);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(item); else chosen.delete(item);
      choose([...chosen]);
    });
    return box;
  };

  all.addEventListener("change", () => {
    chosen.clear();
    if (all.checked) for (const item of items) chosen.add(item);
    choose([...chosen]);
    render();
  });

  function render() {
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW) - AROUND);
    const last = Math.min(items.length, Math.ceil((frame.scrollTop + frame.clientHeight) / ROW) + AROUND);
    above.firstChild.style.height = `${first * ROW}px`;
    below.firstChild.style.height = `${(items.length - last) * ROW}px`;
    body.replaceChildren(above, ...items.slice(first, last).map((item, at) => row(item, first + at)), below);
    grid.setAttribute("aria-rowcount", done ? items.length + 1 : -1);
    state.textContent = done
      ? items.length === 0 ? empty : `${items.length.toLocaleString("en")} in all`
      : `${items.length.toLocaleString("en")} loaded`;
    if (!done && last + 100 > items.length) load();
  }

  function load() {
    loading ??= more().then((found) => {
      if (found === null) done = true;
      else items.push(...found);
    }, (problem) => {
      done = true;
      state.textContent = problem.message;
    }).finally(() => {
      loading = null;
      render();
    });
    return loading;
  }

  let asked = false;
  frame.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; render(); });
  }, { passive: true });
  queueMicrotask(load);
  return { element, chosen: () => [...chosen], items };
}
