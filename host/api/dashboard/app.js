// The frame: which page is shown, who is asked, and whether the stream of figures stands.

import { follow, get, token } from "./api.js";
import { append, h, note, replace } from "./dom.js";
import { overview } from "./pages/overview.js";
import { queue, queues } from "./pages/queues.js";
import { task } from "./pages/task.js";
import { tasks } from "./pages/tasks.js";
import { dead } from "./pages/dead.js";
import { schedule, schedules } from "./pages/schedules.js";
import { plugins } from "./pages/plugins.js";
import { tenants } from "./pages/tenants.js";
import { hosts } from "./pages/hosts.js";
import { journal } from "./pages/journal.js";

const PAGES = [
  ["", "Overview", overview],
  ["queues", "Queues", queues],
  ["tasks", "Tasks", tasks],
  ["dead", "Dead letters", dead],
  ["schedules", "Schedules", schedules],
  ["plugins", "Plugins", plugins],
  ["tenants", "Tenants", tenants],
  ["hosts", "Hosts", hosts],
  ["journal", "Journal", journal],
];
/** Pages of one thing, by the page that lists them. */
const DETAILS = { queues: queue, tasks: task, schedules: schedule };

const main = document.getElementById("main");
const live = document.getElementById("live");
const nav = document.getElementById("nav");

/** What pages share: who asks, and the figures as they come in. */
const shared = {
  who: null,
  overview: null,
  /** The figures of the last minutes, one a second. */
  past: [],
  listeners: new Set(),
  may(scope) {
    return this.who?.scopes.includes(scope) || this.who?.scopes.includes("admin");
  },
};

let leaving = new AbortController();
let streaming = new AbortController();

/** The page and its arguments that the address names: `#/tasks/default/ID?x=y`. */
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/").map(decodeURIComponent);
  return { page: page ?? "", rest: rest.filter(Boolean), query: new URLSearchParams(query) };
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { page, rest, query } = address();
  const known = PAGES.find(([name]) => name === page);
  replace(nav, PAGES.map(([name, title]) =>
    h("a", { href: `#/${name}`, "aria-current": name === page ? "page" : null }, title)));
  const draw = rest.length > 0 ? DETAILS[page] : known?.[2];
  document.title = `${known?.[1] ?? "Not found"} · Bulkhead`;
  if (!draw) {
    replace(main, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "Overview")));
    return;
  }
  const place = h("div");
  replace(main, place);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  try {
    await draw({ place, rest, query, signal, shared, title: (text) => { document.title = `${text} · Bulkhead`; } });
  } catch (problem) {
    if (!signal.aborted && problem.status !== 401) {
      append(place, [h("p", { class: "empty", role: "alert" }, problem.message)]);
    }
  }
}

function signIn() {
  streaming.abort();
  const input = h("input", { type: "password", name: "token", autocomplete: "off", required: true, size: 40 });
  const form = h("form", { class: "panel stack" },
    h("h1", {}, "Who asks?"),
    h("p", {}, "Make a token with ", h("code", {}, "bulkhead token create NAME --scope read"), " and paste it here. This tab keeps it until it is closed."),
    h("label", {}, "Token", input),
    h("div", { class: "row" }, h("button", { class: "main", type: "submit" }, "Go on")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    start();
  });
  replace(nav);
  replace(main, form);
  live.className = "live";
  live.textContent = "not signed in";
  input.focus();
}

async function start() {
  streaming.abort();
  streaming = new AbortController();
  try {
    shared.who = await get("/whoami");
  } catch (problem) {
    if (problem.status !== 401) note(problem.message, true);
    if (problem.status !== 401) setTimeout(start, 3000);
    return;
  }
  const out = token.get()
    ? h("button", { type: "button", onclick: () => { token.forget(); signIn(); } }, "Sign out")
    : null;
  document.querySelector("header button")?.remove();
  if (out) document.querySelector("header").append(out);
  follow("/overview/events", {
    signal: streaming.signal,
    onstate(on) {
      live.className = on ? "live on" : "live off";
      live.textContent = on ? "live" : "no connection";
    },
    onevent(now) {
      shared.overview = now;
      shared.past.push(now);
      if (shared.past.length > 600) shared.past.shift();
      for (const listener of shared.listeners) listener(now);
    },
  });
  show();
}

addEventListener("hashchange", show);
addEventListener("unauthorized", () => {
  if (token.get()) note("The token is unknown, expired or revoked.", true);
  token.forget();
  signIn();
});
start();
