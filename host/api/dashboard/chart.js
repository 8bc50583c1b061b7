// Lines over time, drawn in SVG. A chart has an axis from zero, a key, and says its last value.

import { h, s } from "./dom.js";
import { clock, short } from "./format.js";

const W = 640, H = 176, LEFT = 44, RIGHT = 8, TOP = 8, BOTTOM = 20;

/** `series` are `{ name, points: [[at, value]], filled }`; values may be null. */
export function chart(title, series, { unit = "", format = short } = {}) {
  const points = series.flatMap((one) => one.points).filter(([, value]) => value !== null);
  const last = (one) => one.points.findLast(([, value]) => value !== null)?.[1];
  const key = series.map((one, at) => {
    const value = last(one);
    return h("span", { class: `key s${at}` }, `${one.name} ${value === undefined ? "–" : format(value)}${unit}`);
  });
  const caption = h("figcaption", {}, h("strong", {}, title), h("span", { class: "row" }, key));
  if (new Set(points.map(([at]) => at)).size < 2) {
    return h("figure", {}, caption, h("p", { class: "empty" }, "Not enough samples yet; they are taken while this page is open and once a minute."));
  }
  const from = Math.min(...points.map(([at]) => at));
  const to = Math.max(...points.map(([at]) => at));
  const top = nice(Math.max(...points.map(([, value]) => value), 1e-9));
  const x = (at) => LEFT + ((at - from) / Math.max(to - from, 1)) * (W - LEFT - RIGHT);
  const y = (value) => H - BOTTOM - (value / top) * (H - TOP - BOTTOM);
  const drawn = s("svg", {
    class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img",
    "aria-label": `${title}: ${series.map((one) => `${one.name} ${format(last(one) ?? 0)}${unit}`).join(", ")}`,
  });
  for (const share of [0, 0.5, 1]) {
    drawn.append(s("line", { class: share === 0 ? "frame" : "gridline", x1: LEFT, x2: W - RIGHT, y1: y(top * share), y2: y(top * share) }));
    drawn.append(s("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)));
  }
  for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
    const at = from + (to - from) * share;
    drawn.append(s("text", { x: x(at), y: H - 5, "text-anchor": anchor }, clock(at)));
  }
  series.forEach((one, at) => {
    const runs = split(one.points);
    if (one.filled) {
      const areas = runs.map((run) => `${line(run, x, y)}L${x(run.at(-1)[0])} ${y(0)}L${x(run[0][0])} ${y(0)}Z`);
      drawn.append(s("path", { class: `fill s${at}`, d: areas.join("") }));
    }
    drawn.append(s("path", { class: `s${at}`, d: runs.map((run) => line(run, x, y)).join("") }));
  });
  return h("figure", {}, caption, drawn);
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

/** The next number of the form 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}

/** A share of a whole. */
export function bar(share, label) {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return h("div", { class: "bar", role: "img", "aria-label": label },
    s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" }, s("rect", { width, height: 10 })));
}
