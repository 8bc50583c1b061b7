// How everything stands, second by second.

import { get } from "../api.js";
import { bar, chart, spark } from "../chart.js";
import { badge, card, every, h, head, nothing, panel, redraw, replace, table } from "../dom.js";
import { bytes, count, moment, short, span } from "../format.js";

const sum = (things, of) => things.reduce((all, thing) => all + (of(thing) || 0), 0);
const percent = (part, whole) => (whole > 0 ? (100 * part) / whole : null);
const known = (now) => now.queues.some((queue) => Object.keys(queue.rates).length > 0);
/** A rate over all queues; nothing at the first look. */
const rate = (name) => (now) => (known(now) ? sum(now.queues, (queue) => queue.rates[name]) : null);
const depth = (name) => (now) => sum(now.queues, (queue) => queue[name]);
const failing = (now) => {
  const bad = (rate("dead_lettered")(now) ?? 0) + (rate("retried")(now) ?? 0);
  return percent(bad, bad + (rate("completed")(now) ?? 0)) ?? 0;
};
const latency = (kind, of) => (now) => now.latency?.[kind]?.[of] ?? null;

export async function overview({ place, signal, shared }) {
  const [health, cards, plots, queues, hosts] = Array.from({ length: 5 }, () => h("div"));
  cards.className = "cards";
  plots.className = "grid";
  replace(place, head("Overview"), health, cards, plots, panel("Queues", queues), panel("Hosts", hosts));
  const before = await history(shared);
  if (signal.aborted) return;
  const draw = (now) => {
    redraw(cards, figures(now, shared.past));
    redraw(plots, charts(shared.past, before));
    redraw(queues, queueTable(now, shared.past));
    redraw(hosts, hostTable(now));
  };
  draw(shared.overview ?? (await get("/overview")));
  shared.hear(signal, draw);
  const feel = async () => {
    const { components } = await get("/health");
    const said = components.flatMap((one) => one.details.map((text) => h("li", {}, h("b", {}, one.name), ` ${text}`)));
    if (signal.aborted) return;
    redraw(health, said.length ? h("section", { class: `panel health ${components.some((one) => one.status === "down") ? "down" : "degraded"}`, "aria-label": "Health" }, h("ul", {}, said)) : null);
  };
  feel().catch(() => {});
  every(10_000, signal, feel);
}

function figures(now, past) {
  const line = (of, tone) => spark(past.map(of), tone);
  const slots = sum(now.hosts, (host) => host.concurrency);
  const failed = depth("failed")(now);
  const oldest = Math.max(0, ...now.queues.map((queue) => queue.oldest_pending_ms ?? 0));
  const slow = latency("run", "p95_ms")(now);
  return [
    card("Completed", short(rate("completed")(now) ?? 0), "/s", { line: line(rate("completed"), "s0") }),
    card("Submitted", short(rate("submitted")(now) ?? 0), "/s", { line: line(rate("submitted"), "s1") }),
    card("Attempts that fail", short(failing(now)), "%", { line: line(failing, "s3"), tone: failing(now) > 10 ? "bad" : "" }),
    card("Pending", short(depth("pending")(now)), oldest ? `oldest ${span(oldest)}` : "", { line: line(depth("pending"), "s2"), href: "#/tasks?state=pending" }),
    card("Running", short(depth("running")(now)), `of ${short(slots)} slots`, { line: line(depth("running"), "s0"), href: "#/tasks?state=running" }),
    card("Dead letters", short(failed), "", { line: line(depth("failed"), "s3"), href: "#/dead", tone: failed ? "bad" : "" }),
    card("Run time, p95", slow === null ? "–" : span(slow), "", { line: line(latency("run", "p95_ms"), "s2") }),
    card("Fuel", now.fuel === null || now.fuel === undefined ? "–" : short(now.fuel), "/s", { line: line((one) => one.fuel, "s4") }),
  ];
}

function charts(past, before) {
  const series = (name, of, options = {}) => ({ name, filled: options.filled, points: [...(options.before ?? []), ...past.map((one) => [one.at, of(one)])] });
  const percentiles = (kind) => [series("p50", latency(kind, "p50_ms")), series("p95", latency(kind, "p95_ms")), series("p99", latency(kind, "p99_ms"))];
  const shares = [
    series("slots", (one) => percent(sum(one.hosts, (host) => host.in_flight), sum(one.hosts, (host) => host.concurrency)), { filled: true }),
    series("memory", (one) => percent(sum(one.hosts, (host) => host.held_bytes), sum(one.hosts, (host) => host.budget_bytes)))];
  // One point of the past alone would draw a line of which nothing is known.
  const several = (points) => ({ before: points?.length > 1 ? points : [] });
  const of = (name) => several(before.rates[name]);
  const was = (name) => several(before.depths[name]);
  return [
    chart("Throughput", [series("completed", rate("completed"), { filled: true, ...of("completed") }), series("submitted", rate("submitted"), of("submitted"))], { unit: "/s", least: 1 }),
    chart("Queue depth", [series("pending", depth("pending"), { filled: true, ...was("pending") }), series("running", depth("running"), was("running")), series("scheduled", depth("scheduled"), was("scheduled"))], { least: 4 }),
    chart("Wait until picked up", percentiles("pick_up"), { format: span, least: 1 }),
    chart("Run time", percentiles("run"), { format: span, least: 1 }),
    chart("Failures", [series("retried", rate("retried"), { filled: true, ...of("retried") }), series("dead letters", rate("dead_lettered"), of("dead_lettered"))], { unit: "/s", least: 1 }),
    chart("In use", shares, { unit: " %", least: 100 }),
    chart("Fuel", [series("fuel", (one) => one.fuel ?? null, { filled: true })], { unit: "/s", least: 1000 }),
    chart("Memory held by attempts", [series("held", (one) => sum(one.hosts, (host) => host.held_bytes), { filled: true })], { format: bytes, least: 1 << 20 }),
  ].map((drawn) => h("section", { class: "panel" }, drawn));
}

/** Samples that hosts took in the ten minutes before, over all queues by the minute. */
async function history(shared) {
  const since = Date.now() - 600_000;
  const names = (shared.overview ?? (await get("/overview"))).queues.map(({ queue }) => queue).slice(0, 50);
  const found = await Promise.all(names.map((name) => get(`/queues/${encodeURIComponent(name)}/history?from=${since}`).catch(() => ({ samples: [] }))));
  const [rates, depths] = [{}, {}];
  const add = (into, name, at, value) => { into[name] ??= new Map(); into[name].set(at, (into[name].get(at) ?? 0) + value); };
  for (const { samples } of found) {
    samples.forEach((sample, at) => {
      const minute = Math.floor(sample.at / 60_000) * 60_000;
      for (const name of ["pending", "running", "scheduled"]) add(depths, name, minute, sample[name]);
      const last = samples[at - 1];
      if (!last) return;
      for (const name of ["completed", "submitted", "retried", "dead_lettered"]) {
        add(rates, name, minute, (1000 * ((sample.totals[name] ?? 0) - (last.totals[name] ?? 0))) / Math.max(sample.at - last.at, 1));
      }
    });
  }
  const first = shared.past[0]?.at ?? Date.now();
  const lists = (sums) => Object.fromEntries(Object.entries(sums).map(([name, points]) => [name, [...points].filter(([at]) => at < first).sort(([a], [b]) => a - b)]));
  return { rates: lists(rates), depths: lists(depths) };
}

export function queueTable(now, past) {
  const link = (queue) => `#/queues/${encodeURIComponent(queue.queue)}`;
  const line = (queue) => spark(past.map((one) => one.queues.find((other) => other.queue === queue.queue)?.pending), "s2");
  return table(
    [["Queue"], ["State"], ["Pending", "number"], ["", "wide"], ["Running", "number"], ["Scheduled", "number wide"], ["Blocked", "number wide"], ["Dead", "number"], ["Oldest", "number wide"], ["In /s", "number wide"], ["Out /s", "number wide"]],
    now.queues.map((queue) => [
      h("a", { href: link(queue) }, queue.queue), badge(queue.paused ? "paused" : "active"),
      count(queue.pending), line(queue), count(queue.running), count(queue.scheduled), count(queue.blocked),
      queue.failed ? h("a", { href: `#/dead?queue=${encodeURIComponent(queue.queue)}` }, count(queue.failed)) : "0",
      span(queue.oldest_pending_ms), short(queue.rates.submitted ?? 0), short(queue.rates.completed ?? 0)]),
    "No queue yet: a queue begins with its first task.");
}

function hostTable(now) {
  if (now.hosts.length === 0) return nothing("No host runs: start one with `bulkhead run`.");
  return table(
    [["Host"], ["Slots"], ["", "number"], ["Memory", "wide"], ["", "number wide"], ["Seen", "wide"]],
    now.hosts.map((host) => [
      h("a", { href: "#/hosts" }, host.name),
      bar(host.in_flight / host.concurrency, `${host.in_flight} of ${host.concurrency} slots used`), `${count(host.in_flight)} of ${count(host.concurrency)}`,
      host.budget_bytes ? bar(host.held_bytes / host.budget_bytes, `${bytes(host.held_bytes)} of ${bytes(host.budget_bytes)} held`) : "",
      host.budget_bytes ? `${bytes(host.held_bytes)} of ${bytes(host.budget_bytes)}` : "–", moment(host.seen_at, now.at)]),
    "");
}
