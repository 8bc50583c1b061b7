// Lines over time and shares of wholes, drawn in SVG. A chart starts at zero, has both axes, and
// tells its values at the moment that is pointed at, or that the arrow keys lead to.

import { h, redraw, s } from "./dom.js";
import { clock, short } from "./format.js";

const LEFT = 54, RIGHT = 10, TOP = 10, BOTTOM = 22;
const size = () => (innerWidth < 700 ? { W: 360, H: 180 } : { W: 640, H: 190 });

/** The moment that the reader points at, by the title of the chart. */
let pointed = { title: null, at: 0 };

/** `series` are `{ name, points: [[at, value]], filled }`; values may be null. */
export function chart(title, series, options = {}) {
  const draw = (event) => redraw(event.currentTarget, inside(title, series, options));
  const { from, to } = period(series);
  const point = (event) => {
    const box = event.currentTarget.querySelector("svg")?.getBoundingClientRect();
    if (!box) return;
    const { W } = size();
    const share = ((event.clientX - box.left) / box.width * W - LEFT) / (W - LEFT - RIGHT);
    pointed = { title, at: from + Math.max(0, Math.min(1, share)) * (to - from) };
    draw(event);
  };
  const leave = (event) => {
    if (pointed.title !== title) return;
    pointed = { title: null, at: 0 };
    draw(event);
  };
  const step = (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const moments = [...new Set(series.flatMap((one) => one.points.map(([at]) => at)))].sort((a, b) => a - b);
    const here = pointed.title === title ? nearest(moments.map((at) => [at]), pointed.at) : moments.length;
    pointed = { title, at: moments[Math.max(0, Math.min(moments.length - 1, here + way))] };
    draw(event);
  };
  const said = series.map((one) => `${one.name} ${tell(last(one), options)}`).join(", ");
  return h("figure", {
    class: "chart", tabindex: "0", role: "group", "aria-label": `${title}: ${said}`,
    onpointermove: point, onpointerdown: point, onpointerleave: leave, onblur: leave, onkeydown: step,
  }, inside(title, series, options));
}

const last = (one) => one.points.findLast(([, value]) => value !== null)?.[1];
const tell = (value, { unit = "", format = short }) => (value === undefined || value === null ? "–" : `${format(value)}${unit}`);

function period(series) {
  let [from, to] = [Infinity, -Infinity];
  for (const { points } of series) {
    for (const [at, value] of points) if (value !== null) { from = Math.min(from, at); to = Math.max(to, at); }
  }
  return { from, to };
}

function nearest(points, at) {
  let best = 0;
  points.forEach(([moment], n) => { if (Math.abs(moment - at) < Math.abs(points[best][0] - at)) best = n; });
  return best;
}

function inside(title, series, options) {
  const { format = short, moment = clock } = options;
  const { from, to } = period(series);
  const at = pointed.title === title && to > from ? Math.max(from, Math.min(to, pointed.at)) : null;
  const there = (one) => (at === null || one.points.length === 0 ? last(one) : one.points[nearest(one.points, at)][1]);
  const key = series.map((one, n) => h("span", { class: `key s${n}` }, `${one.name} `, h("b", {}, tell(there(one), options))));
  const caption = h("figcaption", {}, h("strong", {}, title),
    h("span", { class: "keys" }, at === null ? null : h("span", { class: "when" }, moment(at)), key));
  if (!(to > from)) return [caption, h("p", { class: "collecting" }, "Collecting: the first points appear within seconds.")];
  const { W, H } = size();
  const top = nice(Math.max(options.least ?? 0, ...series.flatMap((one) => one.points.map(([, value]) => value ?? 0)), 1e-9));
  const x = (moment) => LEFT + ((moment - from) / (to - from)) * (W - LEFT - RIGHT);
  const y = (value) => H - BOTTOM - (value / top) * (H - TOP - BOTTOM);
  const drawn = s("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    drawn.append(s("line", { class: share === 0 ? "frame" : "gridline", x1: LEFT, x2: W - RIGHT, y1: y(top * share), y2: y(top * share) }));
    if (share % 0.5 === 0) drawn.append(s("text", { x: LEFT - 8, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)));
  }
  for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
    drawn.append(s("text", { x: x(from + (to - from) * share), y: H - 5, "text-anchor": anchor }, moment(from + (to - from) * share)));
  }
  series.forEach((one, n) => {
    const runs = split(one.points);
    if (one.filled) {
      const areas = runs.map((run) => `${line(run, x, y)}L${x(run.at(-1)[0]).toFixed(1)} ${y(0)}L${x(run[0][0]).toFixed(1)} ${y(0)}Z`);
      drawn.append(s("path", { class: `fill s${n}`, d: areas.join("") }));
    }
    drawn.append(s("path", { class: `s${n}`, d: runs.map((run) => line(run, x, y)).join("") }));
  });
  if (at !== null) {
    drawn.append(s("line", { class: "pointed", x1: x(at), x2: x(at), y1: TOP, y2: H - BOTTOM }));
    series.forEach((one, n) => {
      const value = there(one);
      if (value !== null && value !== undefined) drawn.append(s("circle", { class: `dot s${n}`, cx: x(one.points[nearest(one.points, at)][0]), cy: y(value), r: 3.5 }));
    });
  }
  return [caption, drawn];
}

/** Points without the gaps between them. */
function split(points) {
  const runs = [[]];
  for (const point of points) {
    if (point[1] === null) runs.push([]);
    else runs.at(-1).push(point);
  }
  return runs.filter((run) => run.length > 0);
}

const line = (run, x, y) => run.map(([at, value], n) => `${n ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");

/** The next number of the form 1, 2, 4 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}

/** A line without axes, for beside a number. */
export function spark(values, tone = "s0") {
  const known = values.map((value) => value ?? 0).slice(-90);
  const drawn = s("svg", { class: "spark", viewBox: "0 0 100 26", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (known.length < 2) return drawn;
  const top = Math.max(...known, 1e-9);
  const points = known.map((value, n) => `${((n / (known.length - 1)) * 100).toFixed(1)} ${(24 - (value / top) * 21).toFixed(1)}`);
  drawn.append(s("path", { class: `fill ${tone}`, d: `M${points.join("L")}L100 26L0 26Z` }), s("path", { class: tone, d: `M${points.join("L")}` }));
  return drawn;
}

/** A share of a whole. */
export function bar(share, label, tone) {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return h("div", { class: "bar", role: "img", "aria-label": label },
    s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: tone ?? (share > 0.9 ? "high" : "fair"), width: width.toFixed(2), height: 10 })));
}

/** A bar with what it means in words above it. */
export const gauge = (name, said, share) =>
  h("div", { class: "gauge" }, h("div", { class: "said" }, h("span", {}, name), h("b", {}, said)), bar(share, `${name}: ${said}`));

/** Spans of time below one another: `{ label, from, to, tone }`. */
export function spans(rows, from, to, format) {
  const { W } = size();
  const [left, step] = [84, 22];
  const H = rows.length * step + 20;
  const x = (at) => left + ((at - from) / Math.max(to - from, 1)) * (W - left - RIGHT);
  const drawn = s("svg", { class: "spans", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": rows.map((row) => `${row.label}: ${row.said}`).join("; ") });
  for (const share of [0, 0.5, 1]) {
    const at = from + (to - from) * share;
    drawn.append(s("line", { class: "gridline", x1: x(at), x2: x(at), y1: 0, y2: H - 18 }),
      s("text", { x: x(at), y: H - 4, "text-anchor": ["start", "middle", "end"][share * 2] }, format(at - from)));
  }
  rows.forEach((row, n) => {
    const width = Math.max(x(row.to) - x(row.from), 3);
    drawn.append(s("text", { x: left - 8, y: n * step + 15, "text-anchor": "end" }, row.label),
      s("rect", { class: `span ${row.tone}`, x: Math.min(x(row.from), W - RIGHT - width).toFixed(1), y: n * step + 4, width: width.toFixed(1), height: step - 8, rx: 3 }, s("title", {}, row.said)));
  });
  return drawn;
}
