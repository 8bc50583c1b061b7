// Tenants: what each used, and what it has in line.

import { get } from "../api.js";
import { chart } from "../chart.js";
import { h, replace, table } from "../dom.js";
import { bytes, count, micros, short } from "../format.js";

export async function tenants({ place, query }) {
  const days = Number(query.get("days") ?? 7);
  const from = new Date(Date.now() - (days - 1) * 86400_000).toISOString().slice(0, 10);
  const { rows } = await get(`/usage?from=${from}`);
  const add = (into, row) => { for (const key of ["attempts", "fuel", "cpu_us", "kib_ms", "host_calls", "bytes_in", "bytes_out"]) into[key] = (into[key] ?? 0) + row[key]; return into; };
  const by = (of) => { const sums = new Map(); for (const row of rows) sums.set(of(row), add(sums.get(of(row)) ?? {}, row)); return sums; };
  const tenantsUsed = [...by((row) => row.tenant)].sort(([, a], [, b]) => b.fuel - a.fuel);
  const columns = [["Tenant"], ["Attempts", "number"], ["Fuel", "number"], ["CPU", "number"], ["GiB·s", "number"], ["Host calls", "number wide"], ["In", "number wide"], ["Out", "number wide"]];
  const figures = (used) => [count(used.attempts), short(used.fuel), micros(used.cpu_us), short(used.kib_ms / 1_048_576_000), count(used.host_calls), bytes(used.bytes_in), bytes(used.bytes_out)];
  const perDay = new Map();
  for (const row of rows) {
    const day = perDay.get(row.day) ?? new Map();
    day.set(row.tenant, (day.get(row.tenant) ?? 0) + row.fuel);
    perDay.set(row.day, day);
  }
  const series = tenantsUsed.slice(0, 5).map(([tenant]) => ({ name: tenant, points: [...perDay].map(([day, used]) => [Date.parse(day), used.get(tenant) ?? 0]) }));
  const choice = h("nav", { class: "row", "aria-label": "Days" }, [1, 7, 30, 90].map((n) => h("a", { href: `#/tenants?days=${n}`, "aria-current": n === days ? "page" : null }, n === 1 ? "Today" : `${n} days`)));
  replace(place, h("h1", {}, "Tenants"), choice,
    h("div", { class: "panel" }, table(columns, tenantsUsed.map(([tenant, used]) => [h("a", { href: `#/tasks?tenant=${encodeURIComponent(tenant)}` }, tenant), ...figures(used)]), "Nothing ran in these days.")),
    series.length && perDay.size > 1 ? h("div", { class: "panel" }, chart("Fuel by day", series)) : null,
    h("h2", {}, "By plugin and task type"),
    h("div", { class: "panel" }, table([["Plugin"], ["Type"], ...columns.slice(1)],
      [...by((row) => `${row.plugin}\n${row.task_type ?? row.type}`)].sort(([, a], [, b]) => b.fuel - a.fuel).slice(0, 200).map(([key, used]) => [...key.split("\n"), ...figures(used)]), "Nothing ran in these days.")));
}
