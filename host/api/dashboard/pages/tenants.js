// Tenants: what each used, what of its quotas is taken, and whether each gets its share.

import { get } from "../api.js";
import { bar, chart, gauge } from "../chart.js";
import { every, h, head, panel, redraw, replace, table } from "../dom.js";
import { bytes, count, micros, moment, short } from "../format.js";
import { boundsText } from "./queues.js";

const GIB_SECOND = 1_048_576_000;
const FIGURES = ["attempts", "fuel", "cpu_us", "kib_ms", "host_calls", "bytes_in", "bytes_out"];

export async function tenants({ place, query, signal, shared }) {
  const days = Number(query.get("days") ?? 7) || 7;
  const [used, fair, quotas, types] = Array.from({ length: 4 }, () => h("div"));
  const choice = h("nav", { class: "tabs", "aria-label": "Days" }, [1, 7, 30, 90].map((n) => h("a", { href: `#/tenants?days=${n}`, "aria-current": n === days ? "page" : null }, n === 1 ? "Today" : `${n} days`)));
  replace(place, head("Tenants", null, choice), panel("What they used", used),
    shared.seesAll() ? [panel("Shares", h("p", { class: "soft" }, "Of the attempts of these days, by queue: what a tenant's weight is worth among those that had tasks, and what it got. A tenant that asked for less than its share leaves it to others."), fair)] : null,
    panel("Quotas", quotas),
    panel("By plugin and task type", types));
  const draw = async () => {
    const from = new Date(Date.now() - (days - 1) * 86400_000).toISOString().slice(0, 10);
    const { rows } = await get(`/usage?from=${from}`);
    if (signal.aborted) return;
    redraw(used, usage(rows));
    redraw(types, byType(rows));
    const known = (await get("/tenants")).tenants;
    if (signal.aborted) return;
    redraw(quotas, quotaTable(known));
    if (!shared.seesAll()) return;
    const queues = await Promise.all([...new Set([...rows.map((row) => row.queue), ...(shared.overview?.queues ?? []).map((one) => one.queue)])].slice(0, 50).map(async (queue) => {
      const path = `/queues/${encodeURIComponent(queue)}`;
      const [stats, { policy }] = await Promise.all([get(path), get(`${path}/policy`)]);
      return { queue, stats, policy };
    }));
    if (signal.aborted) return;
    redraw(fair, shares(rows, queues));
  };
  await draw();
  every(3000, signal, draw);
}

const add = (into, row) => { for (const key of FIGURES) into[key] = (into[key] ?? 0) + row[key]; return into; };
const sums = (rows, of) => { const all = new Map(); for (const row of rows) all.set(of(row), add(all.get(of(row)) ?? {}, row)); return all; };
const figures = (used) => [count(used.attempts), short(used.fuel), micros(used.cpu_us), short(used.kib_ms / GIB_SECOND), count(used.host_calls), bytes(used.bytes_in), bytes(used.bytes_out)];
const COLUMNS = [["Attempts", "number"], ["Fuel", "number"], ["CPU", "number wide"], ["GiB·s", "number wide"], ["Host calls", "number wide"], ["In", "number wide"], ["Out", "number wide"]];
const most = (sums) => [...sums].sort(([, a], [, b]) => b.fuel - a.fuel).slice(0, 200);

function usage(rows) {
  const all = most(sums(rows, (row) => row.tenant));
  const top = all[0]?.[1].fuel ?? 0;
  const perDay = new Map();
  for (const row of rows) {
    if (!perDay.has(row.day)) perDay.set(row.day, new Map());
    perDay.get(row.day).set(row.tenant, (perDay.get(row.day).get(row.tenant) ?? 0) + row.fuel);
  }
  const series = all.slice(0, 5).map(([tenant]) => ({ name: tenant, points: [...perDay].map(([day, used]) => [Date.parse(day), used.get(tenant) ?? 0]) }));
  return [
    table([["Tenant"], ["", "wide"], ...COLUMNS], all.map(([tenant, used]) => [h("a", { href: `#/tasks?tenant=${encodeURIComponent(tenant)}` }, tenant), bar(used.fuel / top, `${short(used.fuel)} fuel`, "fair"), ...figures(used)]), "Nothing ran in these days."),
    perDay.size > 1 ? chart("Fuel by day", series, { moment: (at) => new Date(at).toISOString().slice(0, 10) }) : null];
}

const byType = (rows) => table([["Plugin"], ["Type"], ...COLUMNS],
  most(sums(rows, (row) => `${row.plugin}\n${row.type}`)).map(([key, used]) => [...key.split("\n"), ...figures(used)]), "Nothing ran in these days.");

const boundsOf = (policy, tenant) => policy.tenants?.[tenant] ?? policy.other_tenants ?? { weight: 10 };

/** Queues that more than one tenant uses: what each is worth there, and what it got. */
function shares(rows, queues) {
  const lines = queues.flatMap(({ queue, stats, policy }) => {
    const got = sums(rows.filter((row) => row.queue === queue && row.tenant !== "*"), (row) => row.tenant);
    for (const { tenant } of stats.by_tenant) if (!got.has(tenant)) got.set(tenant, { attempts: 0, fuel: 0 });
    if (got.size < 2) return [];
    const attempts = [...got.values()].reduce((sum, one) => sum + one.attempts, 0);
    const weights = [...got.keys()].reduce((sum, tenant) => sum + boundsOf(policy, tenant).weight, 0);
    const line = ([tenant, one]) => {
      const [share, worth] = [attempts ? one.attempts / attempts : 0, boundsOf(policy, tenant).weight / weights];
      return [tenant, queue, boundsOf(policy, tenant).weight,
        h("div", { class: "pair" }, bar(worth, `worth ${percent(worth)}`, "idle"), bar(share, `got ${percent(share)}`, "fair")), percent(worth), percent(share)];
    };
    return [...got].sort(([, a], [, b]) => b.attempts - a.attempts).slice(0, 20).map(line);
  });
  return table([["Tenant"], ["Queue", "wide"], ["Weight", "number wide"], ["", "wide"], [h("span", { class: "key idle" }, "Worth"), "number"], [h("span", { class: "key s0" }, "Got"), "number"]], lines, "No queue has tasks of more than one tenant.");
}

const percent = (share) => `${Math.round(share * 100)} %`;

/** Tenants with bounds, or that a bound holds back. */
function quotaTable(tenants) {
  const lines = tenants.flatMap(({ tenant, queues }) => queues.filter(({ policy, held }) => held || bounded(policy)).map(({ queue, policy, in_use, held }) => [
    tenant, queue, inUse(policy, in_use),
    boundsText(policy), held ? [h("b", {}, held.by.replaceAll("_", " ")), held.until ? [", again ", moment(held.until)] : null] : "–"]));
  return table([["Tenant"], ["Queue", "wide"], ["In use"], ["Bounds"], ["Held back by"]], lines, "No tenant has a bound; `bulkhead queue limit` sets them.");
}

const bounded = (policy) => policy.weight !== 10 || Object.entries(policy).some(([name, value]) => !["weight", "when_spent"].includes(name) && value !== null && value !== undefined);

/** A gauge for each bound of which something can be in use. */
function inUse(policy, used) {
  const of = (name, value, most, show = count) => (Number.isFinite(value) && Number.isFinite(most) ? gauge(name, `${show(value)} of ${show(most)}`, value / most) : null);
  const gibSeconds = (kibMs) => short(kibMs / GIB_SECOND);
  return [
    of("not ended", used.pending, policy.pending) ?? `${count(used.pending)} not ended`,
    of("in flight", used.in_flight, policy.in_flight),
    of("starts", used.starts, policy.rate?.burst),
    of("fuel this minute", used.fuel, policy.fuel_per_minute, short),
    of("GiB·s this minute", used.kib_ms, policy.kib_ms_per_minute, gibSeconds)];
}
