// Figures of the host that answers, read from its metrics: what fuel it burns.

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

/** Looks at the metrics again and again, and says what they came to. */
export function meter() {
  let before = null;
  return async () => {
    const look = { at: Date.now(), fuel: total(parse(await text("../metrics")), "bulkhead_fuel_total") };
    const fuel = before ? Math.max(0, look.fuel - before.fuel) / ((look.at - before.at) / 1000) : null;
    before = look;
    return { fuel };
  };
}
