// Queues: how each stands, over time, what it bounds, and what can be done to it.

import { get, post, put } from "../api.js";
import { chart } from "../chart.js";
import { act, ask, badge, card, h, replace, sheet, table } from "../dom.js";
import { ago, count, short, span } from "../format.js";

export async function queues({ place, signal, shared }) {
  const list = h("div", { class: "panel" });
  replace(place, h("h1", {}, "Queues"), list);
  const draw = (now) => replace(list, table(
    [["Queue"], ["Pending", "number"], ["Running", "number"], ["Scheduled", "number"], ["Blocked", "number wide"], ["Dead", "number"], ["Oldest pending", "number wide"], ["Submitted/s", "number wide"], ["Completed/s", "number"], ["State"]],
    now.queues.map((queue) => [
      h("a", { href: `#/queues/${encodeURIComponent(queue.queue)}` }, queue.queue), count(queue.pending), count(queue.running),
      count(queue.scheduled), count(queue.blocked), count(queue.failed), span(queue.oldest_pending_ms),
      short(queue.rates.submitted ?? 0), short(queue.rates.completed ?? 0), badge(queue.paused ? "paused" : "active")]),
    "No queue yet: no task was ever submitted."));
  draw(shared.overview ?? (await get("/overview")));
  shared.listeners.add(draw);
  signal.addEventListener("abort", () => shared.listeners.delete(draw));
}

export async function queue({ place, rest: [name], signal, shared, title }) {
  title(name);
  const path = `/queues/${encodeURIComponent(name)}`;
  const [cards, history, depths, policy] = [h("div", { class: "cards" }), h("div", { class: "grid" }), h("div", { class: "grid" }), h("div", { class: "panel" })];
  const actions = h("div", { class: "row" });
  replace(place, h("h1", {}, `Queue ${name}`), actions, cards, h("h2", {}, "The last hours"), history, h("h2", {}, "What is in line"), depths, h("h2", {}, "Policy"), policy);

  const refresh = async () => {
    const stats = await get(path);
    if (signal.aborted) return;
    replace(cards,
      card("pending", count(stats.pending)), card("held back by keys", count(stats.held_back)), card("running", count(stats.running)),
      card("scheduled", count(stats.scheduled)), card("blocked", count(stats.blocked)), card("dead letters", count(stats.failed)),
      card("oldest pending", stats.oldest_pending_at ? ago(stats.oldest_pending_at).replace(" ago", "") : "–"));
    replace(depths,
      h("div", { class: "panel" }, table([["Type"], ["Pending", "number"], ["State"]],
        stats.by_type.map((type) => [type.task_type, count(type.pending), badge(type.paused ? "paused" : "active")]), "Nothing is pending.")),
      h("div", { class: "panel" }, table([["Tenant"], ["Not ended", "number"], ["Held back by", "wide"]],
        stats.by_tenant.map((tenant) => {
          const held = stats.held_tenants.find((one) => one.tenant === tenant.tenant);
          return [h("a", { href: `#/tasks?queue=${encodeURIComponent(name)}&tenant=${encodeURIComponent(tenant.tenant)}` }, tenant.tenant), count(tenant.open),
            held ? `${held.by.replaceAll("_", " ")}${held.until ? `, again ${ago(held.until)}` : ""}` : ""];
        }), "No tenant has a task that has not ended.")));
    if (!shared.may("operate")) return;
    replace(actions,
      stats.paused
        ? act("Resume", async () => { await post(`${path}/resume`); await refresh(); return `${name} hands out tasks again`; }, { class: "main" })
        : act("Pause", async () => { await post(`${path}/pause`); await refresh(); return `${name} is paused; what runs goes on`; }),
      act("Purge pending", async () => {
        const { removed } = await post(`${path}/purge`, { state: "pending" });
        await refresh();
        return `${count(removed)} tasks are gone`;
      }, { class: "danger", confirm: `Remove all ${count(stats.pending)} pending tasks of ${name} for good?` }),
      act("Examine", async () => {
        const { findings } = await post(`${path}/examine`);
        return findings.length ? `${findings.length} disagreements: ${findings[0].detail}` : "Tasks and indexes agree.";
      }, { title: "Look for disagreement between tasks and indexes" }));
  };

  const samples = (await get(`${path}/history?from=${Date.now() - 6 * 3600_000}`)).samples;
  const series = (label, of, filled) => ({ name: label, filled, points: samples.map((sample) => [sample.at, of(sample)]) });
  const rate = (total) => samples.map((sample, at) => {
    const before = samples[at - 1];
    return [sample.at, before ? (1000 * ((sample.totals[total] ?? 0) - (before.totals[total] ?? 0))) / Math.max(sample.at - before.at, 1) : null];
  });
  replace(history,
    h("div", { class: "panel" }, chart("Throughput", [{ name: "completed", filled: true, points: rate("completed") }, { name: "submitted", points: rate("submitted") }, { name: "dead letters", points: rate("dead_lettered") }], { unit: "/s" })),
    h("div", { class: "panel" }, chart("Depth", [series("pending", (sample) => sample.pending, true), series("running", (sample) => sample.running), series("scheduled", (sample) => sample.scheduled)])));

  const showPolicy = async () => {
    const { policy: bounds } = await get(`${path}/policy`);
    const edit = () => {
      const text = h("textarea", { name: "policy", spellcheck: "false", "aria-label": "Policy as JSON" });
      text.value = JSON.stringify(bounds, null, 2);
      ask(`Policy of ${name}`, [text], "Replace it", async () => {
        let document;
        try { document = JSON.parse(text.value); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
        await put(`${path}/policy`, document);
        await showPolicy();
        return "The policy applies from the next claim on.";
      });
    };
    replace(policy,
      sheet([["At once", bounds.concurrency], ["Rate", rateText(bounds.rate)], ["Types", Object.keys(bounds.types ?? {}).length || null],
        ["Keys", Object.keys(bounds.keys ?? {}).length || null], ["Tenants", Object.keys(bounds.tenants ?? {}).length || null],
        ["Events kept", bounds.events ?? "none"]]),
      shared.may("operate") ? h("div", { class: "row" }, h("button", { type: "button", onclick: edit }, "Edit the policy")) : null);
  };
  await Promise.all([refresh(), showPolicy()]);
  const timer = setInterval(() => refresh().catch(() => {}), 3000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

const rateText = (rate) => (rate ? `${short(1e6 / rate.interval_us)}/s, burst ${rate.burst}` : null);
