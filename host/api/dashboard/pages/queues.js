// Queues: how each stands, over time, what it bounds, and what can be done to it.

import { get, post, put } from "../api.js";
import { chart } from "../chart.js";
import { act, ask } from "../dialogs.js";
import { badge, card, every, h, head, panel, redraw, replace, sheet, table } from "../dom.js";
import { ago, bytes, count, moment, short } from "../format.js";
import { queueTable } from "./overview.js";

export async function queues({ place, signal, shared }) {
  const list = h("div");
  replace(place, head("Queues"), h("section", { class: "panel" }, list));
  const draw = (now) => redraw(list, queueTable(now, shared.past));
  draw(shared.overview ?? (await get("/overview")));
  shared.hear(signal, draw);
}

export async function queue({ place, rest: [name], signal, shared, title }) {
  title(`Queue ${name}`);
  const path = `/queues/${encodeURIComponent(name)}`;
  const [top, cards, history, types, tenants, policy] = Array.from({ length: 6 }, () => h("div"));
  cards.className = "cards";
  history.className = "grid";
  replace(place, top, cards, history,
    h("div", { class: "grid" }, panel("In line by type", types), panel("In line by tenant", tenants)), panel("Policy", policy));

  let stats = null;
  const refresh = async () => {
    stats = await get(path);
    if (signal.aborted) return;
    redraw(top, head(`Queue ${name}`, badge(stats.paused ? "paused" : "active"), shared.may("operate") ? actions(name, path, stats, refresh) : null));
    const link = (state) => ({ href: `#/tasks?queue=${encodeURIComponent(name)}&state=${state}` });
    redraw(cards,
      card("Pending", count(stats.pending), stats.held_back ? `${count(stats.held_back)} held back` : "", link("pending")),
      card("Running", count(stats.running), stats.concurrency ? `of ${count(stats.concurrency)}` : "", link("running")),
      card("Scheduled", count(stats.scheduled), "", link("scheduled")), card("Blocked", count(stats.blocked), "", link("blocked")),
      card("Dead letters", count(stats.failed), "", { href: `#/dead?queue=${encodeURIComponent(name)}`, tone: stats.failed ? "bad" : "" }),
      card("Completed", short(stats.totals.completed ?? 0), "since it began"),
      card("Oldest pending", stats.oldest_pending_at ? ago(stats.oldest_pending_at).replace(" ago", "") : "–"));
    redraw(types, table([["Type"], ["Pending", "number"], ["State"], [""]],
      stats.by_type.map((type) => [h("a", { href: `#/tasks?queue=${encodeURIComponent(name)}&type=${encodeURIComponent(type.task_type)}` }, type.task_type), count(type.pending), badge(type.paused ? "paused" : "active"),
        shared.may("operate") ? pauseType(path, type, refresh) : null]), "Nothing is pending."));
    redraw(tenants, table([["Tenant"], ["Not ended", "number"], ["Held back by", "wide"]],
      stats.by_tenant.map((tenant) => {
        const held = stats.held_tenants.find((one) => one.tenant === tenant.tenant);
        return [h("a", { href: `#/tasks?queue=${encodeURIComponent(name)}&tenant=${encodeURIComponent(tenant.tenant)}` }, tenant.tenant), count(tenant.open),
          held ? [held.by.replaceAll("_", " "), held.until ? [", again ", moment(held.until)] : null] : ""];
      }), "No tenant has a task that has not ended."));
  };

  const samples = (await get(`${path}/history?from=${Date.now() - 6 * 3600_000}`)).samples;
  const plot = () => redraw(history, plots(samples, shared.past, name));
  const showPolicy = async () => {
    const { policy: bounds } = await get(`${path}/policy`);
    if (!signal.aborted) redraw(policy, policySheet(bounds, shared.may("operate") ? () => edit(name, path, bounds, showPolicy) : null));
  };
  await Promise.all([refresh(), showPolicy()]);
  plot();
  shared.hear(signal, plot);
  every(2000, signal, refresh);
}

function plots(samples, past, name) {
  const now = past.map((one) => [one.at, one.queues.find((other) => other.queue === name)]).filter(([, queue]) => queue);
  const before = samples.filter((sample) => sample.at < (now[0]?.[0] ?? Infinity));
  const depths = (key, filled) => ({ name: key, filled, points: [...before.map((sample) => [sample.at, sample[key]]), ...now.map(([at, queue]) => [at, queue[key]])] });
  const rates = (key, label, filled) => ({
    name: label, filled,
    points: [...before.map((sample, at) => {
      const last = before[at - 1];
      return [sample.at, last ? (1000 * ((sample.totals[key] ?? 0) - (last.totals[key] ?? 0))) / Math.max(sample.at - last.at, 1) : null];
    }), ...now.map(([at, queue]) => [at, queue.rates[key] ?? null])],
  });
  return [
    chart(`Throughput of ${name}`, [rates("completed", "completed", true), rates("submitted", "submitted"), rates("dead_lettered", "dead letters")], { unit: "/s", least: 1 }),
    chart(`Depth of ${name}`, [depths("pending", true), depths("running"), depths("scheduled")], { least: 4 }),
  ].map((drawn) => h("section", { class: "panel" }, drawn));
}

function actions(name, path, stats, refresh) {
  const purge = (state, many) => act(`Purge ${state === "failed" ? "dead letters" : state}`, async () => {
    const { removed } = await post(`${path}/purge`, { state });
    await refresh();
    return `${count(removed)} tasks are gone`;
  }, { class: "danger", confirm: `Remove all ${count(many)} ${state === "failed" ? "dead letters" : `${state} tasks`} of ${name} for good?` });
  return [
    stats.paused
      ? act("Resume", async () => { await post(`${path}/resume`); await refresh(); return `${name} hands out tasks again`; }, { class: "main" })
      : act("Pause", async () => { await post(`${path}/pause`); await refresh(); return `${name} is paused; what runs goes on`; }),
    act("Examine", async () => {
      const { findings } = await post(`${path}/examine`);
      return findings.length ? `${findings.length} disagreements: ${findings[0].detail}` : "Tasks and indexes agree.";
    }, { title: "Look for disagreement between tasks and indexes" }),
    purge("pending", stats.pending), stats.scheduled ? purge("scheduled", stats.scheduled) : null, stats.failed ? purge("failed", stats.failed) : null,
  ];
}

const pauseType = (path, type, refresh) => act(type.paused ? "Resume" : "Pause", async () => {
  await post(`${path}/${type.paused ? "resume" : "pause"}?type=${encodeURIComponent(type.task_type)}`);
  await refresh();
  return type.paused ? `${type.task_type} is handed out again` : `${type.task_type} waits; what runs goes on`;
}, { class: "small", title: `${type.paused ? "Resume" : "Pause"} ${type.task_type} in this queue` });

function edit(name, path, bounds, done) {
  const text = h("textarea", { name: "policy", spellcheck: "false", "aria-label": "Policy as JSON" });
  text.value = JSON.stringify(bounds, null, 2);
  ask(`Policy of ${name}`, [text], "Replace it", async () => {
    let document;
    try { document = JSON.parse(text.value); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
    await put(`${path}/policy`, document);
    await done();
    return "The policy applies from the next claim on.";
  });
}

const rateText = (rate) => (rate ? `${short(1e6 / rate.interval_us)}/s, burst ${rate.burst}` : null);
export const boundsText = (bounds) => [
  bounds.weight !== undefined ? `weight ${bounds.weight}` : null, bounds.concurrency ?? bounds.in_flight ? `${count(bounds.concurrency ?? bounds.in_flight)} at once` : null,
  rateText(bounds.rate), bounds.pending !== null && bounds.pending !== undefined ? `${count(bounds.pending)} not ended` : null,
  bounds.payload_bytes ? `${bytes(bounds.payload_bytes)} a task` : null, bounds.fuel_per_minute ? `${short(bounds.fuel_per_minute)} fuel a minute` : null,
  bounds.kib_ms_per_minute ? `${short(bounds.kib_ms_per_minute / 1_048_576_000)} GiB·s a minute` : null].filter(Boolean).join(", ") || "no bound";

function policySheet(bounds, change) {
  const named = (kind, entries) => Object.entries(entries ?? {}).slice(0, 200).map(([name, one]) => [kind, name, boundsText(one)]);
  const rows = [...named("type", bounds.types), ...named("key", bounds.keys), ...named("tenant", bounds.tenants), ...(bounds.other_tenants ? [["tenant", "all others", boundsText(bounds.other_tenants)]] : [])];
  return [
    sheet([["At once", bounds.concurrency ? count(bounds.concurrency) : "no bound"], ["Rate", rateText(bounds.rate) ?? "no bound"], ["Events kept", bounds.events ? count(bounds.events) : "none"]]),
    rows.length ? table([["Of"], ["Name"], ["Bounds"]], rows, "") : null,
    change ? h("div", { class: "row" }, h("button", { type: "button", onclick: change }, "Edit the policy")) : null];
}

