// How everything stands, second by second.

import { get } from "../api.js";
import { bar, chart } from "../chart.js";
import { badge, card, h, replace, table } from "../dom.js";
import { ago, bytes, count, short, span } from "../format.js";

const sum = (queues, of) => queues.reduce((all, queue) => all + (of(queue) || 0), 0);

export async function overview({ place, signal, shared }) {
  const cards = h("div", { class: "cards" });
  const plots = h("div", { class: "grid" });
  const queues = h("div", { class: "panel" });
  const hosts = h("div", { class: "panel" });
  replace(place, h("h1", {}, "Overview"), cards, h("h2", {}, "The last minutes"), plots,
    h("h2", {}, "Queues"), queues, h("h2", {}, "Hosts"), hosts);

  const draw = (now) => {
    const rate = (name) => sum(now.queues, (queue) => queue.rates[name]);
    const ended = rate("completed") + rate("dead_lettered");
    const oldest = Math.max(0, ...now.queues.map((queue) => queue.oldest_pending_ms ?? 0));
    const slots = sum(now.hosts, (host) => host.concurrency);
    replace(cards,
      card("completed", short(rate("completed")), "a second"),
      card("submitted", short(rate("submitted")), "a second"),
      card("attempts that failed", ended > 0 ? short((100 * (rate("dead_lettered") + rate("retried"))) / (ended + rate("retried"))) : "0", "%"),
      card("pending", short(sum(now.queues, (queue) => queue.pending)), "tasks"),
      card("oldest pending", span(oldest)),
      card("running", short(sum(now.queues, (queue) => queue.running)), `of ${short(slots)} slots`),
      card("dead letters", short(sum(now.queues, (queue) => queue.failed))),
      card("hosts", count(now.hosts.length)));
    const past = shared.past;
    const series = (name, of, filled = false) => ({ name, filled, points: past.map((one) => [one.at, of(one)]) });
    const rates = (name) => (one) => (Object.keys(one.queues[0]?.rates ?? {}).length ? sum(one.queues, (queue) => queue.rates[name]) : null);
    replace(plots,
      h("div", { class: "panel" }, chart("Throughput", [series("completed", rates("completed"), true), series("submitted", rates("submitted"))], { unit: "/s" })),
      h("div", { class: "panel" }, chart("Depth", [series("pending", (one) => sum(one.queues, (q) => q.pending), true), series("running", (one) => sum(one.queues, (q) => q.running)), series("scheduled", (one) => sum(one.queues, (q) => q.scheduled))])),
      h("div", { class: "panel" }, chart("Failures", [series("retried", rates("retried")), series("dead letters", rates("dead_lettered"))], { unit: "/s" })),
      h("div", { class: "panel" }, chart("Slots and memory", [
        series("slots used %", (one) => percent(sum(one.hosts, (host) => host.in_flight), sum(one.hosts, (host) => host.concurrency)), true),
        series("memory held %", (one) => percent(sum(one.hosts, (host) => host.held_bytes), sum(one.hosts, (host) => host.budget_bytes)))])));
    replace(queues, table(
      [["Queue"], ["Pending", "number"], ["Running", "number"], ["Scheduled", "number wide"], ["Dead", "number"], ["Oldest", "number wide"], ["Completed/s", "number"], ["State"]],
      now.queues.map((queue) => [
        h("a", { href: `#/queues/${encodeURIComponent(queue.queue)}` }, queue.queue),
        count(queue.pending), count(queue.running), count(queue.scheduled),
        h("a", { href: `#/dead?queue=${encodeURIComponent(queue.queue)}` }, count(queue.failed)),
        span(queue.oldest_pending_ms), short(queue.rates.completed ?? 0),
        queue.paused ? badge("paused") : badge("active")]),
      "No queue yet: no task was ever submitted."));
    replace(hosts, table(
      [["Host"], ["Running", "number"], ["Slots used"], ["Memory", "wide"], ["Seen", "wide"]],
      now.hosts.map((host) => [
        h("a", { href: "#/hosts" }, host.name), `${count(host.in_flight)} of ${count(host.concurrency)}`,
        bar(host.in_flight / host.concurrency, `${host.in_flight} of ${host.concurrency} slots used`),
        host.budget_bytes ? `${bytes(host.held_bytes)} of ${bytes(host.budget_bytes)}` : "–", ago(host.seen_at, now.at)]),
      "No host runs: start one with `bulkhead run`."));
  };
  draw(shared.overview ?? (await get("/overview")));
  shared.listeners.add(draw);
  signal.addEventListener("abort", () => shared.listeners.delete(draw));
}

const percent = (part, whole) => (whole > 0 ? (100 * part) / whole : null);

