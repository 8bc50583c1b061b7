// What stands around every page: where one can go, who one is, whether figures come in, the theme.

import { h, redraw, s } from "./dom.js";

const THEME = "bulkhead-theme";
const THEMES = { "": "as the system", light: "light", dark: "dark" };

/** Icons by page: paths on a ground of 24 by 24. */
const ICONS = {
  "": "M4 13h6V4H4zM14 20h6V4h-6zM4 20h6v-3H4z",
  queues: "M4 6h16M4 12h16M4 18h10",
  tasks: "M5 5h14v14H5zM8.5 12l2.5 2.5 4.5-5",
  dead: "M4 7h16v12H4zM4 7l8 6 8-6M9 3h6",
  schedules: "M12 4a8 8 0 1 0 .01 0M12 8v4.5l3 2",
  plugins: "M9 3v5M15 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3",
  tenants: "M9 11a3.5 3.5 0 1 0-.01 0M3 20c0-4 3-6 6-6s6 2 6 6M16 11a3 3 0 1 0-1-5.8M17 14c2.5.5 4 2.5 4 6",
  hosts: "M4 4h16v7H4zM4 13h16v7H4zM7.5 7.5h.01M7.5 16.5h.01M11 7.5h6M11 16.5h6",
  journal: "M6 3h12v18H6zM9 8h6M9 12h6M9 16h3",
};

export const icon = (name) => s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));

/** Show where one is; nobody has nowhere to go. */
export function frame(who, pages, here, signOut) {
  redraw(document.getElementById("nav"), pages.map(({ name, title }) =>
    h("a", { href: `#/${name}`, "aria-current": name === here ? "page" : null }, icon(name), h("span", {}, title))));
  const role = who && (["admin", "operate", "submit"].find((scope) => who.scopes.includes(scope)) ?? "read only");
  redraw(document.getElementById("who"), who ? [h("span", { class: "name", title: who.name }, /\((.*)\)$/.exec(who.name)?.[1] ?? who.name), h("span", { class: "soft" }, who.tenant ? `${role}, tenant ${who.tenant}` : role)] : null,
    who && sessionStorage.length ? h("button", { type: "button", class: "quiet", onclick: signOut }, "Sign out") : null, themes());
}

function themes() {
  const text = () => `Theme: ${THEMES[localStorage.getItem(THEME) ?? ""]}`;
  const change = ({ currentTarget: button }) => {
    const names = Object.keys(THEMES);
    localStorage.setItem(THEME, names[(names.indexOf(localStorage.getItem(THEME) ?? "") + 1) % names.length]);
    theme();
    button.textContent = text();
  };
  return h("button", { type: "button", class: "quiet", onclick: change }, text());
}

/** Take up the theme that the reader chose. */
export function theme() {
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

/** Say whether figures come in. */
export function mark(kind, text) {
  const live = document.getElementById("live");
  if (live.textContent !== text) live.textContent = text;
  live.className = `live ${kind}`;
}

theme();
