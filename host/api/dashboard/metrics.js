// Figures of the host that answers, read from its metrics: fuel and latency as they are of late.

import { text } from "./api.js";

/** Lines of OpenMetrics text by name: `[labels, value]`. */
export function parse(exposed) {
  const found = new Map();
  for (const line of exposed.split("\n")) {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]));
    if (!found.has(parts[1])) found.set(parts[1], []);
    found.get(parts[1]).push([labels, Number(parts[3])]);
  }
  return found;
}

export const total = (found, name) => (found.get(name) ?? []).reduce((sum, [, value]) => sum + value, 0);

/** A histogram over all labels: how many were at most so long, by bound in seconds. */
export function histogram(found, name) {
  const sums = new Map();
  for (const [{ le }, value] of found.get(`${name}_bucket`) ?? []) {
    const bound = le === "+Inf" ? Infinity : Number(le);
    sums.set(bound, (sums.get(bound) ?? 0) + value);
  }
  return [...sums].sort(([a], [b]) => a - b);
}

/** What of a histogram came since another look at it. */
export function since(now, before) {
  const known = new Map(before);
  return now.map(([bound, value]) => [bound, Math.max(0, value - (known.get(bound) ?? 0))]);
}

/** The value, in milliseconds, that this share is below: between two bounds, as if evenly spread. */
export function quantile(buckets, share) {
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all === 0) return null;
  const rank = share * all;
  let [low, below] = [0, 0];
  for (const [bound, value] of buckets) {
    if (value >= rank) {
      if (bound === Infinity) return low * 1000;
      const part = value === below ? 1 : (rank - below) / (value - below);
      return (low + (bound - low) * part) * 1000;
    }
    [low, below] = [bound, value];
  }
  return low * 1000;
}

const percentiles = (buckets) => {
  const at = (share) => quantile(buckets, share);
  return at(0.5) === null ? null : { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) };
};

/** How far back percentiles look. */
const WINDOW_MS = 60_000;

/** Looks at the metrics again and again, and says what they came to. */
export function meter() {
  const looks = [];
  return async () => {
    const found = parse(await text("../metrics"));
    const look = {
      at: Date.now(), fuel: total(found, "bulkhead_fuel_total"),
      pickUp: histogram(found, "bulkhead_pickup_seconds"), run: histogram(found, "bulkhead_run_seconds"),
    };
    const before = looks.at(-1);
    looks.push(look);
    while (looks.length > 2 && looks[1].at < look.at - WINDOW_MS) looks.shift();
    const oldest = looks[0];
    const fuel = before ? Math.max(0, look.fuel - before.fuel) / ((look.at - before.at) / 1000) : null;
    if (oldest === look) return { fuel, latency: null };
    return { fuel, latency: { pick_up: percentiles(since(look.pickUp, oldest.pickUp)), run: percentiles(since(look.run, oldest.run)) } };
  };
}
