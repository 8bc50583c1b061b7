// Numbers, times and sizes as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));

export function short(n) {
  if (n >= 1e9) return `${some.format(n / 1e9)} G`;
  if (n >= 1e6) return `${some.format(n / 1e6)} M`;
  if (n >= 1e4) return `${some.format(n / 1e3)} k`;
  return n < 10 ? some.format(n) : whole.format(n);
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) { n /= 1024; at += 1; }
  return `${at === 0 ? n : some.format(n)} ${units[at]}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${some.format(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${some.format(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const micros = (us) => span(us / 1000);

export function ago(at, now = Date.now()) {
  if (!at) return "";
  const ms = now - at;
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

export const time = (at) => (at ? new Date(at).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC") : "");
export const clock = (at) => new Date(at).toISOString().slice(11, 19);
