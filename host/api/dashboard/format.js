// Numbers, times and sizes as people read them.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));

export function short(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 1e12) return `${some.format(n / 1e12)} T`;
  if (n >= 1e9) return `${some.format(n / 1e9)} G`;
  if (n >= 1e6) return `${some.format(n / 1e6)} M`;
  if (n >= 1e4) return `${some.format(n / 1e3)} k`;
  return n < 1 ? fine.format(n) : n < 10 ? some.format(n) : whole.format(n);
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) { n /= 1024; at += 1; }
  return `${at === 0 ? n : some.format(n)} ${units[at]}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0 s";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? some.format(ms) : whole.format(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${some.format(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const micros = (us) => span(us / 1000);

/** How long ago something was or how soon it will be; two figures tell enough. */
export function ago(at, now = Date.now()) {
  if (!at) return "";
  const ms = now - at;
  if (Math.abs(ms) < 1000) return "now";
  const step = Math.abs(ms) < 600_000 ? 1000 : 60_000;
  const rounded = span(Math.floor(Math.abs(ms) / step) * step).replace(" min 0 s", " min");
  return ms > 0 ? `${rounded} ago` : `in ${rounded}`;
}

export const time = (at) => (at ? new Date(at).toISOString().replace("T", " ").replace(/Z$/, " UTC") : "");
export const clock = (at) => new Date(at).toTimeString().slice(0, 8);

/** A moment as one says it; the exact one, by the reader's clock and in UTC, when pointed at. */
export function moment(at, now) {
  if (!at) return "";
  return h("time", { datetime: new Date(at).toISOString(), title: `${new Date(at).toLocaleString()} · ${time(at)}` }, ago(at, now));
}
