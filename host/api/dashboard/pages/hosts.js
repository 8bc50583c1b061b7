// Hosts: what runs where.

import { get } from "../api.js";
import { bar } from "../chart.js";
import { badge, h, replace, sheet } from "../dom.js";
import { ago, bytes, count, time } from "../format.js";

export async function hosts({ place, signal }) {
  const list = h("div", { class: "grid" });
  replace(place, h("h1", {}, "Hosts"), list);
  const draw = async () => {
    const found = (await get("/hosts")).hosts;
    if (signal.aborted) return;
    replace(list, found.length === 0 ? h("p", { class: "empty" }, "No host runs: start one with `bulkhead run`.") : found.map((host) => {
      const refused = host.plugins.filter((plugin) => plugin.rejected);
      return h("section", { class: "panel" }, h("h2", {}, host.name, " ", badge("serving")),
        bar(host.in_flight / host.concurrency, `${host.in_flight} of ${host.concurrency} slots used`),
        sheet([["Running", `${count(host.in_flight)} of ${count(host.concurrency)}`],
          ["Memory", host.memory ? `${bytes(host.memory.held_bytes)} of ${bytes(host.memory.budget_bytes)} held; ceiling ${bytes(host.memory.ceiling_bytes)}` : null],
          ["Wait for memory", host.memory?.waiting || null], ["Queues", host.queues.join(", ")],
          ["Plugins", `${host.plugins.filter((plugin) => plugin.serving).length} serve${refused.length ? `, ${refused.length} refused` : ""}`],
          ["Guests", host.isolation.length ? `in worker processes behind ${host.isolation.join(", ")}` : "on threads"],
          ["Process", host.pid], ["Started", `${time(host.started_at)} (${ago(host.started_at)})`], ["Seen", ago(host.seen_at)]]));
    }));
  };
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 3000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
