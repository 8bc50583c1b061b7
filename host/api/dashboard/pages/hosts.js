// Hosts: what runs where, how full each is, and why it takes on more or less.

import { get } from "../api.js";
import { gauge, spark } from "../chart.js";
import { badge, every, h, head, nothing, redraw, replace, sheet, table } from "../dom.js";
import { bytes, count, moment, short } from "../format.js";

export async function hosts({ place, signal, shared }) {
  const list = h("div", { class: "grid hosts" });
  replace(place, head("Hosts"), list);
  const draw = async () => {
    const found = (await get("/hosts")).hosts;
    if (signal.aborted) return;
    redraw(list, found.length === 0 ? nothing("No host runs: start one with `bulkhead run`.") : found.map((one) => host(one, shared.past)));
  };
  await draw();
  every(2000, signal, draw);
}

function host(one, past) {
  const refused = one.plugins.filter((plugin) => plugin.rejected);
  const serving = one.plugins.filter((plugin) => plugin.serving);
  const line = spark(past.map((now) => now.hosts.find((other) => other.name === one.name)?.in_flight));
  return h("section", { class: "panel host" },
    h("div", { class: "panel-head" }, h("h2", {}, one.name), badge(one.draining ? "draining" : one.refusing.length ? "full" : "serving"), h("span", { class: "soft" }, "seen ", moment(one.seen_at))),
    gauge("Slots", `${count(one.in_flight)} of ${count(one.concurrency)}`, one.in_flight / one.concurrency), line,
    one.memory ? gauge("Memory held", `${bytes(one.memory.held_bytes)} of ${bytes(one.memory.budget_bytes)}`, one.memory.held_bytes / one.memory.budget_bytes) : null,
    one.refusing.map((reason) => h("p", { class: "failed" }, `Takes on no more work: ${reason}`)),
    sheet([["Queues", one.queues.join(", ")], ["Memory ceiling", one.memory ? bytes(one.memory.ceiling_bytes) : null], ["Waits for memory", one.memory?.waiting ? `${count(one.memory.waiting)} attempts` : null],
      ["Plugins", [h("a", { href: "#/plugins" }, `${serving.length} serve`), refused.length ? `, ${refused.length} refused` : ""]],
      ["Guests", one.isolation.length ? `in worker processes behind ${one.isolation.join(", ")}` : "on threads"],
      ["Pushed plugins", one.fleet ? "taken" : "not taken"], ["Version", one.version || null], ["Process", one.pid], ["Started", moment(one.started_at)]]),
    one.scaling ? scaling(one.scaling) : null,
    h("details", {}, h("summary", {}, "Versions"), table([["Plugin"], ["Version"], ["Digest", "id"]], serving.map((plugin) => [plugin.name, plugin.serving.version, plugin.serving.digest.slice(0, 12)]), "None.")));
}

function scaling({ min, max, latest, changes }) {
  const seen = latest?.readings;
  const share = (value) => (value === null || value === undefined ? null : `${Math.round(value * 100)} %`);
  return [h("h3", {}, "Autoscaler"),
    sheet([["Between", `${count(min)} and ${count(max)} at once`], ["Last look", latest ? `${latest.direction}, ${latest.in_a_row} of ${latest.needed} in a row` : null],
      ["Pressure", seen ? short(seen.pressure) : null], ["Slots used", share(seen?.utilisation)], ["CPU busy", share(seen?.cpu_busy)], ["Overloaded", share(seen?.overloaded)], ["Memory", share(seen?.memory)]]),
    table([["When"], ["From", "number"], ["To", "number"], ["Why"]], changes.map((change) => [moment(change.at), count(change.verdict.from), count(change.verdict.to), change.explanation]), "It has changed nothing yet.")];
}
