// Schedules: when each fires next, and what it submits.

import { get, post, put, remove } from "../api.js";
import { act, ask, badge, h, note, replace, sheet, table } from "../dom.js";
import { ago, count, span, time } from "../format.js";

const when = (timing) => {
  if (timing.kind === "cron") return `${timing.expression} ${timing.zone}`;
  if (timing.kind === "every") return `every ${span(timing.interval_ms)}${timing.jitter_ms ? `, up to ${span(timing.jitter_ms)} late` : ""}`;
  return `once at ${time(timing.at)}`;
};
const path = (schedule) => `/queues/${encodeURIComponent(schedule.queue)}/schedules/${encodeURIComponent(schedule.name)}`;
const link = (schedule) => h("a", { href: `#/schedules/${encodeURIComponent(schedule.queue)}/${encodeURIComponent(schedule.name)}` }, schedule.name);
const state = (schedule) => badge(schedule.paused ? "paused" : schedule.next ? "active" : "over");

export async function schedules({ place, signal, shared }) {
  const list = h("div", { class: "panel" });
  const draw = async () => {
    const found = (await get("/schedules")).schedules;
    if (signal.aborted) return;
    replace(list, table(
      [["Schedule"], ["Queue"], ["Type"], ["When"], ["State"], ["Next"], ["Last", "wide"], ["Fired", "number wide"], ["Skipped", "number wide"]],
      found.map((one) => [link(one), one.queue, one.task.type, when(one.timing), state(one), one.paused ? "" : ago(one.next), ago(one.last?.at), count(one.fired), count(one.skipped)]),
      "No schedule; define one here, in the configuration or with `bulkhead schedule put`."));
  };
  const define = () => {
    const [queue, name, type, expression, payload] = [["queue", "default"], ["name", ""], ["type", ""], ["cron", "0 3 * * *"], ["payload", "{}"]]
      .map(([key, value]) => h("input", { name: key, value, required: true }));
    const zone = h("input", { name: "zone", value: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC", required: true });
    ask("Define a schedule", [h("label", {}, "Queue", queue), h("label", {}, "Name", name), h("label", {}, "Cron expression", expression), h("label", {}, "Time zone", zone),
      h("label", {}, "Task type", type), h("label", {}, "Payload (JSON)", payload)], "Define it", async () => {
      let json;
      try { json = JSON.parse(payload.value); } catch (error) { throw new Error(`The payload is no JSON: ${error.message}`); }
      await put(path({ queue: queue.value, name: name.value }), { cron: expression.value, zone: zone.value, task: { type: type.value, payload: json } });
      await draw();
      return `${name.value} is defined`;
    });
  };
  replace(place, h("h1", {}, "Schedules"), shared.may("operate") ? h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: define }, "Define a schedule")) : null, list);
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

export async function schedule({ place, rest: [queue, name], shared, title }) {
  title(`Schedule ${name}`);
  const at = path({ queue, name });
  const draw = async () => {
    const one = await get(at);
    replace(place, h("h1", {}, `Schedule ${one.name}`),
      shared.may("operate") ? h("div", { class: "row" }, state(one),
        act("Fire now", async () => { const { id } = await post(`${at}/fire`); await draw(); return `Task ${id} is in line.`; }, { class: "main" }),
        one.paused ? act("Resume", async () => { await post(`${at}/resume`); await draw(); }) : act("Pause", async () => { await post(`${at}/pause`); await draw(); }),
        act("Remove", async () => { await remove(at); location.hash = "#/schedules"; note(`${one.name} is gone`); }, { class: "danger", confirm: `Remove the schedule ${one.name}?` })) : state(one),
      h("div", { class: "panel" }, sheet([["Queue", one.queue], ["When", when(one.timing)], ["Exclusive", one.exclusive ? "yes" : "no"],
        ["Missed fires", typeof one.missed === "string" ? one.missed : `the latest ${one.missed.all.at_most}`], ["From", one.origin], ["Fired", count(one.fired)], ["Skipped", count(one.skipped)],
        ["Last task", one.last ? h("a", { href: `#/tasks/${encodeURIComponent(one.queue)}/${one.last.task}` }, `${one.last.task} (${ago(one.last.at)})`) : null],
        ["Type", one.task.type], ["Tenant", one.task.tenant], ["Priority", one.task.priority]])),
      h("h2", {}, one.paused ? "Next fires, were it not paused" : "Next fires"),
      h("div", { class: "panel" }, table([["When"], ["In"]], one.upcoming.map((fire) => [time(fire), ago(fire)]), "It will not fire again.")));
  };
  await draw();
}
