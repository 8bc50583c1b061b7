// The frame: which page is shown, who is asked, and whether the stream of figures stands.

import { follow, get, token } from "./api.js";
import { append, h, note, replace } from "./dom.js";
import { frame, mark } from "./frame.js";
import { keys } from "./keys.js";
import { meter } from "./metrics.js";
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

/** Address, title, what draws it, who sees it: everybody, or who sees all tenants, or `admin`. */
const PAGES = [
  { name: "", title: "Overview", draw: overview, all: true },
  { name: "queues", title: "Queues", draw: queues, one: queue, all: true },
  { name: "tasks", title: "Tasks", draw: tasks, one: task },
  { name: "dead", title: "Dead letters", draw: dead },
  { name: "schedules", title: "Schedules", draw: schedules, one: schedule },
  { name: "plugins", title: "Plugins", draw: plugins },
  { name: "tenants", title: "Tenants", draw: tenants },
  { name: "hosts", title: "Hosts", draw: hosts, all: true },
  { name: "journal", title: "Journal", draw: journal, all: true, scope: "admin" },
];

const main = document.getElementById("main");

/** What pages share: who asks, and the figures as they come in. */
const shared = {
  who: null,
  overview: null,
  /** The figures of the last minutes, one a second. */
  past: [],
  listeners: new Set(),
  may(scope) {
    return this.who.scopes.includes(scope) || this.who.scopes.includes("admin");
  },
  /** Whether who asks sees all tenants. */
  seesAll() {
    return !this.who.tenant;
  },
  /** Hear of new figures until `signal` ends it. */
  hear(signal, listener) {
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener));
  },
};

/** Figures that are kept: ten minutes of one a second. */
const KEPT = 600;

/** Whether a page was shown before. */
let gone = false;
let leaving = new AbortController();
let streaming = new AbortController();

/** The page and its arguments that the address names: `#/tasks/default/ID?x=y`. */
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  let parts;
  try { parts = path.split("/").map(decodeURIComponent); } catch { parts = ["?"]; }
  const [page, ...rest] = parts;
  return { page: page ?? "", rest: rest.filter(Boolean), query: new URLSearchParams(query) };
}

const open = (page) => (!page.all || shared.seesAll()) && (!page.scope || shared.may(page.scope));

async function show() {
  if (!shared.who) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { page, rest, query } = address();
  const pages = PAGES.filter(open);
  if (page === "" && !open(PAGES[0])) {
    location.replace(`#/${pages[0].name}`);
    return;
  }
  const known = pages.find(({ name }) => name === page);
  frame(shared.who, pages, page, signOut);
  const draw = rest.length > 0 ? known?.one : known?.draw;
  const title = (text) => { document.title = `${text} · Bulkhead`; };
  title(known?.title ?? "Not found");
  const place = h("div", { class: "page" });
  replace(main, place);
  // Who goes somewhere is taken there; who has just come begins at the beginning.
  if (gone) main.focus({ preventScroll: true });
  gone = true;
  scrollTo(0, 0);
  if (!draw) {
    const hidden = PAGES.some(({ name }) => name === page);
    append(place, [h("h1", {}, hidden ? "This is not for your token" : "There is no such page"),
      h("p", {}, hidden ? "It concerns all tenants, or takes a scope that the token lacks." : null),
      h("p", {}, h("a", { href: `#/${pages[0].name}` }, pages[0].title))]);
    return;
  }
  try {
    await draw({ place, rest, query, signal, shared, title });
  } catch (problem) {
    if (signal.aborted || problem.status === 401) return;
    if (!place.querySelector("h1")) replace(place, h("h1", {}, known.title));
    append(place, [h("p", { class: "failed", role: "alert" }, problem.message)]);
  }
}

function signOut() {
  token.forget();
  signIn();
}

function signIn() {
  leaving.abort();
  streaming.abort();
  shared.who = null;
  shared.overview = null;
  shared.past = [];
  frame(null, [], "");
  mark("", "not signed in");
  document.title = "Sign in · Bulkhead";
  const input = h("input", { type: "password", name: "token", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "panel stack sign-in", onsubmit: (event) => { event.preventDefault(); token.set(input.value.trim()); start(); } },
    h("h1", {}, "Who asks?"),
    h("p", {}, "Make a token and paste it here:"),
    h("pre", {}, "bulkhead token create NAME --scope read,operate"),
    h("label", {}, "Token", input),
    h("p", { class: "soft" }, "This tab keeps it until the tab is closed; no other tab and no other site sees it."),
    h("div", { class: "row" }, h("button", { class: "main", type: "submit" }, "Sign in")));
  replace(main, form);
  input.focus();
}

async function start() {
  streaming.abort();
  streaming = new AbortController();
  const { signal } = streaming;
  try {
    shared.who = await get("/whoami");
  } catch (problem) {
    if (problem.status === 401) return;
    mark("off", "no connection");
    setTimeout(() => { if (!signal.aborted) start(); }, 2000);
    return;
  }
  if (shared.seesAll()) listen(signal);
  else mark("on", `tenant ${shared.who.tenant}`);
  show();
}

function listen(signal) {
  const measure = meter();
  let [measured, measuring, heard, connected] = [0, false, Date.now(), false];
  let figures = {};
  const look = async () => {
    measuring = true;
    try { figures = await measure(); } catch (problem) { if ([401, 403, 404].includes(problem.status)) measured = Infinity; }
    measuring = false;
  };
  // The host says nothing while its broker is away.
  const watch = setInterval(() => {
    const late = Date.now() - heard;
    if (connected) mark(late < 5000 ? "on" : "late", late < 5000 ? "live" : `no news for ${Math.round(late / 1000)} s`);
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(watch));
  follow("/overview/events", {
    signal,
    onstate(on) {
      connected = on;
      heard = Date.now();
      mark(on ? "on" : "off", on ? "live" : "no connection");
    },
    onevent(now) {
      heard = Date.now();
      if (!measuring && !document.hidden && heard - measured > 1900) {
        if (measured !== Infinity) measured = heard;
        look();
      }
      now.fuel = figures.fuel ?? null;
      shared.overview = now;
      shared.past.push(now);
      if (shared.past.length > KEPT) shared.past.shift();
      for (const listener of shared.listeners) listener(now);
    },
  });
}

addEventListener("hashchange", show);
addEventListener("unauthorized", () => {
  if (!shared.who && !token.get()) return signIn();
  if (token.get()) note("The token is unknown, expired or revoked.", true);
  signOut();
});
keys(() => PAGES.filter((page) => shared.who && open(page)));
start();
