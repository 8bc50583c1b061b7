// Tasks: a list by what they are, with what can be done to those that are marked.

import { get, post } from "../api.js";
import { act, badge, h, replace } from "../dom.js";
import { ago, count, micros } from "../format.js";
import { longTable } from "../rows.js";

const STATES = ["scheduled", "blocked", "pending", "running", "completed", "failed", "cancelled", "expired"];
const FILTERS = ["queue", "state", "type", "tenant", "contains", "failure", "batch", "schedule"];

export const taskLink = (task) =>
  h("a", { href: `#/tasks/${encodeURIComponent(task.queue)}/${task.id}`, title: task.id }, task.id.slice(-12));

const columns = [["Task", "id"], ["Type"], ["Queue", "wide"], ["Tenant", "wide"], ["State"], ["Attempts", "number wide"], ["Submitted", "wide"], ["Took", "number wide"], ["Came to"]];

const cells = (task) => [
  taskLink(task), task.type ?? "?", task.queue, task.tenant ?? "", badge(task.state), count(task.attempts),
  ago(task.submitted_at), task.wall_us === undefined ? "" : micros(task.wall_us), outcome(task)];

function outcome(task) {
  if (task.unreadable) return `unreadable: ${task.unreadable}`;
  if (task.state === "running" && task.progress) return `${Math.round(task.progress.fraction * 100)} % ${task.progress.message}`;
  if (task.failure) return `${task.failure.kind.replaceAll("_", " ")}: ${task.failure.message}`;
  return "";
}

/** A list of tasks and what marks of it can be done. */
export function taskList({ filters, actions, empty }) {
  const query = new URLSearchParams(filters.filter(([, value]) => value));
  query.set("limit", "500");
  let cursor = "";
  let over = false;
  const more = async () => {
    // A part may be empty and go on all the same.
    while (!over) {
      const page = await get(`/tasks?${query}${cursor}`);
      over = page.next === null;
      cursor = `&cursor=${encodeURIComponent(page.next)}`;
      if (page.tasks.length > 0) return page.tasks;
    }
    return null;
  };
  const bar = h("div", { class: "row" });
  const list = longTable({ columns, more, draw: cells, empty, choose: actions ? (marked) => show(marked) : null });
  const show = (marked) => replace(bar, marked.length ? h("span", {}, `${count(marked.length)} marked`) : "", marked.length ? actions(marked) : "");
  return h("div", { class: "panel" }, bar, list.element);
}

/** Do something to marked tasks, queue by queue and a thousand at a time. */
export async function each(marked, send) {
  let done = 0;
  for (const [queue, tasks] of Map.groupBy ? Map.groupBy(marked, (task) => task.queue) : grouped(marked)) {
    for (let at = 0; at < tasks.length; at += 1000) {
      done += await send(queue, tasks.slice(at, at + 1000).map((task) => task.id));
    }
  }
  return done;
}

function grouped(tasks) {
  const groups = new Map();
  for (const task of tasks) groups.set(task.queue, [...(groups.get(task.queue) ?? []), task]);
  return groups;
}

export const cancelMarked = (marked) => act("Cancel them", async () => {
  const done = await each(marked, async (queue, ids) => (await post("/tasks/cancel", { queue, ids })).done);
  return `${count(done)} are cancelled or asked to stop`;
}, { class: "danger", confirm: `Cancel ${count(marked.length)} tasks?` });

export const retryMarked = (marked) => act("Run them again", async () => {
  const done = await each(marked, async (queue, ids) => (await post("/tasks/retry", { queue, ids })).done);
  return `${count(done)} are in line again`;
}, { class: "main" });

export async function tasks({ place, query, shared }) {
  const field = (name, label, input) => h("label", {}, label, input ?? h("input", { name, value: query.get(name) ?? "", size: 14 }));
  const state = h("select", { name: "state" }, h("option", { value: "" }, "any"), STATES.map((one) => h("option", { value: one, selected: one === query.get("state") }, one)));
  const form = h("form", { class: "row", role: "search" },
    field("queue", "Queue"), field("state", "State", state), field("type", "Type"), field("tenant", "Tenant"),
    field("contains", "Text in failure, metadata, payload"), field("failure", "Failure"),
    h("button", { type: "submit", class: "main" }, "Search"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    location.hash = `#/tasks?${asked}`;
  });
  const find = h("form", { class: "row" },
    h("label", {}, "Task by its id", h("input", { name: "id", size: 38, placeholder: "01a1fbac-…", pattern: "[0-9a-fA-F-]{36}", title: "A whole id" })),
    h("button", { type: "submit" }, "Show"));
  find.addEventListener("submit", async (event) => {
    event.preventDefault();
    const id = new FormData(find).get("id").trim();
    for (const { queue } of shared.overview?.queues ?? (await get("/overview")).queues) {
      try {
        await get(`/queues/${encodeURIComponent(queue)}/tasks/${id}`);
        location.hash = `#/tasks/${encodeURIComponent(queue)}/${id}`;
        return;
      } catch (problem) {
        if (problem.status !== 404) throw problem;
      }
    }
    find.append(h("span", { role: "alert" }, "No queue has it."));
  });
  const filters = FILTERS.map((name) => [name, query.get(name)]);
  const actions = shared.may("operate") ? (marked) => [cancelMarked(marked), retryMarked(marked)] : null;
  replace(place, h("h1", {}, "Tasks"), form, find, taskList({ filters, actions, empty: "No task is so." }));
}
