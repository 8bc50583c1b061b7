// Tasks: a list by what they are, with what can be done to those that are marked.

import { get, post } from "../api.js";
import { act } from "../dialogs.js";
import { badge, h, head, redraw, replace } from "../dom.js";
import { count, micros, moment } from "../format.js";
import { longTable } from "../rows.js";

const STATES = ["scheduled", "blocked", "pending", "running", "completed", "failed", "cancelled", "expired"];
const FILTERS = ["queue", "state", "type", "tenant", "contains", "failure", "batch", "schedule"];

const taskLink = (task) =>
  h("a", { href: `#/tasks/${encodeURIComponent(task.queue)}/${task.id}`, title: task.id }, task.id.slice(-12));

const columns = [["Task", "id"], ["Type", "type"], ["State", "state"], ["Queue", "wide queue"], ["Tenant", "wide queue"], ["Attempts", "number wide few"], ["Submitted", "wide when"], ["Took", "number wide few"], ["Came to", "wide"]];

const cells = (task) => [
  taskLink(task), task.type ?? "?", badge(task.state), task.queue, task.tenant ?? "", count(task.attempts),
  moment(task.submitted_at), task.wall_us === undefined ? "" : micros(task.wall_us), outcome(task)];

function outcome(task) {
  if (task.unreadable) return `unreadable: ${task.unreadable}`;
  if (task.state === "running" && task.progress) return `${Math.round(task.progress.fraction * 100)} % ${task.progress.message}`;
  if (task.failure) return [h("b", {}, task.failure.kind.replaceAll("_", " ")), `: ${task.failure.message.slice(0, 200)}`];
  return "";
}

/** How often a list may be looked at again because of what is heard. */
const AGAIN_MS = 2000;

/** A list of tasks and what marks of it can be done. It follows what happens while it is calm. */
export function taskList({ name, filters, actions, empty, signal, shared }) {
  const query = new URLSearchParams(filters.filter(([, value]) => value));
  query.set("limit", "500");
  async function* parts() {
    for (let cursor = ""; cursor !== null;) {
      const page = await get(`/tasks?${query}${cursor}`);
      cursor = page.next === null ? null : `&cursor=${encodeURIComponent(page.next)}`;
      // A part may be empty and go on all the same.
      if (page.tasks.length > 0) yield page.tasks;
    }
  }
  const bar = h("div", { class: "row marked", role: "status" });
  const show = (marked) => redraw(bar, marked.length
    ? [h("span", {}, `${count(marked.length)} marked`), actions(marked, list.reload)]
    : h("span", { class: "soft" }, "Mark rows to act on many at once."));
  const list = longTable({ name, columns, parts, draw: cells, empty, choose: actions ? show : null });
  if (actions) show([]);
  const told = (now) => JSON.stringify(now?.queues.map((queue) => [queue.queue, queue.totals, queue.running]));
  let [seen, at] = [told(shared.overview), Date.now()];
  shared.hear(signal, (now) => {
    const said = told(now);
    if (said === seen) return;
    if (Date.now() - at < AGAIN_MS || !list.calm() || document.hidden) return;
    [seen, at] = [said, Date.now()];
    list.reload().catch(() => {});
  });
  return { element: h("section", { class: "panel" }, actions ? bar : null, list.element), reload: list.reload };
}

/** Do something to marked tasks, queue by queue and a thousand at a time. */
export async function each(marked, send) {
  const groups = new Map();
  for (const task of marked) {
    if (!groups.has(task.queue)) groups.set(task.queue, []);
    groups.get(task.queue).push(task.id);
  }
  let done = 0;
  for (const [queue, ids] of groups) {
    for (let at = 0; at < ids.length; at += 1000) done += await send(queue, ids.slice(at, at + 1000));
  }
  return done;
}

const cancelMarked = (marked, reload) => act("Cancel them", async () => {
  const done = await each(marked, async (queue, ids) => (await post("/tasks/cancel", { queue, ids })).done);
  await reload();
  return `${count(done)} are cancelled or asked to stop`;
}, { class: "danger", confirm: `Cancel ${count(marked.length)} tasks?` });

export const retryMarked = (marked, reload) => act("Run them again", async () => {
  const done = await each(marked, async (queue, ids) => (await post("/tasks/retry", { queue, ids })).done);
  await reload();
  return `${count(done)} are in line again`;
}, { class: "main" });

export const refreshButton = (list) => h("button", { type: "button", "data-key": "r", title: "Load the list again (r)", onclick: () => list.reload().catch(() => {}) }, "Refresh");

/** The form of a search whose answer is the page `to` with what was asked for. */
export function search(to, query, fields) {
  const submit = (event) => {
    event.preventDefault();
    const asked = new URLSearchParams([...new FormData(event.currentTarget)].filter(([, value]) => value));
    location.hash = `#/${to}?${asked}`;
  };
  return h("form", { class: "row search", role: "search", onsubmit: submit },
    fields.map(([name, label, options, kind]) => h("label", { class: kind }, label, options
      ? h("select", { name }, h("option", { value: "" }, "any"), options.map((one) => h("option", { value: one, selected: one === query.get(name) }, one.replaceAll("_", " "))))
      : h("input", { name, value: query.get(name) ?? "" }))),
    h("button", { type: "submit", class: "main" }, "Search"));
}

export async function tasks({ place, query, signal, shared }) {
  const missing = h("span", { role: "alert" });
  const find = h("form", { class: "row find", onsubmit: (event) => { event.preventDefault(); goTo(new FormData(event.currentTarget).get("id").trim(), query.get("queue"), shared, missing); } },
    h("label", {}, "Task by its id", h("input", { name: "id", placeholder: "01a1fbac-…", pattern: "[0-9a-fA-F\\-]{36}", title: "A whole id" })),
    h("button", { type: "submit" }, "Show"), missing);
  const filters = FILTERS.map((name) => [name, query.get(name)]);
  const actions = shared.may("operate") ? (marked, reload) => [cancelMarked(marked, reload), retryMarked(marked, reload)] : null;
  const list = taskList({ name: "Tasks", filters, actions, signal, shared, empty: filters.some(([, value]) => value) ? "No task is so." : "No task yet. Submit one: bulkhead submit TYPE --data …" });
  replace(place, head("Tasks", null, refreshButton(list)),
    h("div", { class: "searches" }, search("tasks", query, [["state", "State", STATES], ["queue", "Queue"], ["type", "Type"], ["tenant", "Tenant"], ["contains", "Text in failure, metadata, payload", null, "grow"]]), find), list.element);
}

/** Open the task of an id, in whichever queue it is. */
async function goTo(id, queue, shared, missing) {
  missing.textContent = "";
  try {
    const names = queue ? [queue] : shared.seesAll() ? (shared.overview ?? (await get("/overview"))).queues.map((one) => one.queue) : ["default"];
    for (const name of names) {
      try {
        await get(`/queues/${encodeURIComponent(name)}/tasks/${id}`);
        location.hash = `#/tasks/${encodeURIComponent(name)}/${id}`;
        return;
      } catch (problem) {
        if (problem.status !== 404) throw problem;
      }
    }
    missing.textContent = "No queue has it.";
  } catch (problem) {
    missing.textContent = problem.message;
  }
}
