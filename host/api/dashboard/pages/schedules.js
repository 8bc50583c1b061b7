// Schedules: when each fires next, and what it submits.

import { get, post, put, remove } from "../api.js";
import { act, ask } from "../dialogs.js";
import { badge, every, h, head, note, panel, redraw, replace, sheet, table } from "../dom.js";
import { ago, count, moment, span, time } from "../format.js";
import { viewer } from "../viewer.js";

const when = (timing) => {
  if (timing.kind === "cron") return [h("code", {}, timing.expression), " ", timing.zone];
  if (timing.kind === "every") return `every ${span(timing.interval_ms)}${timing.jitter_ms ? `, up to ${span(timing.jitter_ms)} late` : ""}`;
  return `once at ${time(timing.at)}`;
};
const path = (schedule) => `/queues/${encodeURIComponent(schedule.queue)}/schedules/${encodeURIComponent(schedule.name)}`;
const link = (schedule) => h("a", { href: `#/schedules/${encodeURIComponent(schedule.queue)}/${encodeURIComponent(schedule.name)}` }, schedule.name);
const state = (schedule) => badge(schedule.paused ? "paused" : schedule.next ? "active" : "over");

export async function schedules({ place, signal, shared }) {
  const [soon, list] = [h("div"), h("div")];
  const draw = async () => {
    const found = (await get("/schedules")).schedules;
    if (signal.aborted) return;
    const next = found.filter((one) => one.next && !one.paused).sort((a, b) => a.next - b.next).slice(0, 5);
    redraw(soon, next.length ? h("ol", { class: "soon" }, next.map((one) => h("li", {}, h("b", {}, moment(one.next)), " ", link(one), h("span", { class: "soft" }, ` submits ${one.task.type} to ${one.queue}`)))) : h("p", { class: "soft" }, "Nothing will fire."));
    redraw(list, table(
      [["Schedule"], ["Queue", "wide"], ["Type"], ["When"], ["State"], ["Next"], ["Last", "wide"], ["Fired", "number wide"], ["Skipped", "number wide"]],
      found.map((one) => [link(one), one.queue, one.task.type, when(one.timing), state(one), one.paused ? "" : moment(one.next), one.last ? moment(one.last.at) : "", count(one.fired), count(one.skipped)]),
      "No schedule; define one here, in the configuration or with `bulkhead schedule put`."));
  };
  const define = () => {
    const input = (name, value) => h("input", { name, value, required: true });
    const [queue, name, type, expression, payload] = [["queue", "default"], ["name", ""], ["type", ""], ["cron", "0 3 * * *"], ["payload", "{}"]].map(([key, value]) => input(key, value));
    const zone = input("zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
    ask("Define a schedule", [h("label", {}, "Queue", queue), h("label", {}, "Name", name), h("label", {}, "Cron expression", expression), h("label", {}, "Time zone", zone),
      h("label", {}, "Task type", type), h("label", {}, "Payload (JSON)", payload)], "Define it", async () => {
      let json;
      try { json = JSON.parse(payload.value); } catch (error) { throw new Error(`The payload is no JSON: ${error.message}`); }
      await put(path({ queue: queue.value, name: name.value }), { cron: expression.value, zone: zone.value, task: { type: type.value, payload: json } });
      await draw();
      return `${name.value} is defined`;
    });
  };
  replace(place, head("Schedules", null, shared.may("operate") ? h("button", { type: "button", class: "main", onclick: define }, "Define a schedule") : null), panel("Next to fire", soon), panel("All", list));
  await draw();
  every(2000, signal, draw);
}

export async function schedule({ place, rest: [queue, name], signal, shared, title }) {
  title(`Schedule ${name}`);
  const at = path({ queue, name });
  const [top, body, template] = [h("div"), h("div", { class: "grid" }), h("div")];
  replace(place, top, body, template);
  const draw = async () => {
    const one = await get(at);
    if (signal.aborted) return;
    redraw(top, head(`Schedule ${one.name}`, state(one), shared.may("operate") ? [
      act("Fire now", async () => { const { id } = await post(`${at}/fire`); await draw(); return `Task ${id} is in line.`; }, { class: "main" }),
      one.paused ? act("Resume", async () => { await post(`${at}/resume`); await draw(); return `${one.name} fires again`; }) : act("Pause", async () => { await post(`${at}/pause`); await draw(); return `${one.name} is paused`; }),
      act("Remove", async () => { await remove(at); location.hash = "#/schedules"; note(`${one.name} is gone`); }, { class: "danger", confirm: `Remove the schedule ${one.name}?` })] : null));
    redraw(body, panel("What it is", sheet([["Queue", one.queue], ["When", when(one.timing)], ["Exclusive", one.exclusive ? "yes" : "no"],
      ["Missed fires", typeof one.missed === "string" ? one.missed : `the latest ${one.missed.all.at_most}`], ["From", one.origin], ["Fired", count(one.fired)], ["Skipped", count(one.skipped)],
      ["Last task", one.last ? [h("a", { class: "id", href: `#/tasks/${encodeURIComponent(one.queue)}/${one.last.task}` }, one.last.task), " ", moment(one.last.at)] : null],
      ["Type", one.task.type], ["Tenant", one.task.tenant], ["Priority", one.task.priority]])),
      panel(one.paused ? "Next fires, were it not paused" : "Next fires", table([["When"], ["In"]], one.upcoming.map((fire) => [new Date(fire).toLocaleString(), h("span", { title: time(fire) }, ago(fire))]), "It will not fire again.")));
    if (!template.hasChildNodes()) replace(template, viewer("Payload", one.task.payload, null, one.name));
  };
  await draw();
  every(2000, signal, draw);
}
