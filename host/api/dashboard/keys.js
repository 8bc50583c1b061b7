// Keys for those who would rather not reach for the mouse. None works while one writes.

import { tell } from "./dialogs.js";
import { h } from "./dom.js";

const GO = { o: "", q: "queues", t: "tasks", d: "dead", s: "schedules", p: "plugins", n: "tenants", h: "hosts", j: "journal" };

const HELP = [
  ["?", "These keys"], ["/", "To the search"], ["r", "Load the list again"],
  ["↑ ↓ Home End Page", "In a list: to another row"], ["Space", "On a mark: mark the row"], ["Enter", "Open, press"],
  ["← →", "In a plot: the values before and after"], ["Esc", "Close a dialog"],
];

/** `pages` gives those that may be gone to. */
export function keys(pages) {
  let going = false;
  addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog");
    if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const page = going && pages().find(({ name }) => name === GO[key]);
    going = key === "g";
    if (page) location.hash = `#/${page.name}`;
    else if (key === "?") help(pages());
    else if (key === "/") document.querySelector("form[role=search] input, form[role=search] select")?.focus();
    else if (key === "r") document.querySelector("button[data-key=r]")?.click();
    else return;
    event.preventDefault();
  });
}

function help(pages) {
  const going = Object.entries(GO).map(([key, name]) => [`g ${key}`, pages.find((page) => page.name === name)?.title]);
  const lines = [...HELP, ...going.filter(([, title]) => title)];
  tell("Keys", h("dl", { class: "keys-help" }, lines.map(([key, says]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, says)])));
}
