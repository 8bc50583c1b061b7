// Payloads and outputs as what they are: JSON and MessagePack by structure, text as text, other
// bytes in hex. At first only so much is drawn that a page stays quick.

import { download } from "./api.js";
import { act } from "./dialogs.js";
import { h, replace } from "./dom.js";
import { bytes } from "./format.js";
import { decode, dump } from "./msgpack.js";

const CUT = 20_000;
const HEX = 4096;

/** Long text, cut at first. */
export function long(text, draw = (part) => part, kind = "") {
  const shown = h("pre", { class: kind, tabindex: "0" });
  const cut = text.length > CUT;
  replace(shown, draw(cut ? text.slice(0, CUT) : text));
  if (!cut) return shown;
  const more = h("button", { type: "button", onclick: () => { replace(shown, text.slice(0, 1 << 21)); more.remove(); shown.focus(); } },
    `Show all ${text.length.toLocaleString("en")} characters`);
  return h("div", { class: "long-text" }, shown, more);
}

/** JSON text, its parts coloured. */
export function coloured(json) {
  const parts = json.matchAll(/("(?:[^"\\]|\\.)*"?)(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*|[^"\w-]+|./gs);
  return [...parts].map(([whole, quoted, colon]) => {
    if (quoted) return [h("span", { class: colon ? "j-key" : "j-text" }, quoted), colon ?? ""];
    if (/^(true|false|null)$/.test(whole)) return h("span", { class: "j-word" }, whole);
    if (/^-?\d/.test(whole)) return h("span", { class: "j-number" }, whole);
    return whole;
  });
}

const unpacked = (base64) => Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));

/** The ways to look at it: `[name, draw]`. */
function ways(shown) {
  const raw = () => (shown.base64 !== undefined ? unpacked(shown.base64) : new TextEncoder().encode(shown.json !== undefined ? JSON.stringify(shown.json) : shown.text));
  const hex = ["Hex", () => {
    const all = raw();
    const part = h("pre", { class: "hex", tabindex: "0" }, dump(all.subarray(0, HEX)));
    return all.length > HEX ? [part, h("p", { class: "soft" }, `The first ${bytes(HEX)} of ${bytes(all.length)}; download it for the rest.`)] : part;
  }];
  if (shown.json !== undefined) {
    const pretty = JSON.stringify(shown.json, null, 2);
    return [["JSON", () => long(pretty, coloured, "json")], hex];
  }
  if (shown.text !== undefined) return [["Text", () => long(shown.text || "(empty)")], hex];
  if (/msgpack|messagepack/i.test(shown.content_type)) {
    try {
      const pretty = JSON.stringify(decode(raw()), null, 2);
      return [["MessagePack", () => long(pretty, coloured, "json")], hex];
    } catch (problem) {
      return [["Hex", () => [h("p", { class: "soft" }, `This is no MessagePack that can be shown: ${problem.message}.`), hex[1]()]]];
    }
  }
  return [hex];
}

const chosen = new Map();

/** A payload with its media type, its size, the ways to look at it, and, with a path, to keep it. */
export function viewer(name, shown, path, file) {
  const all = ways(shown);
  const key = `${path} ${shown.bytes}`;
  const place = h("div", {});
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": `How to show the ${name.toLowerCase()}` });
  const show = (at) => {
    chosen.set(key, at);
    replace(place, all[at][1]());
    [...tabs.children].forEach((tab, n) => tab.setAttribute("aria-pressed", String(n === at)));
  };
  if (all.length > 1) all.forEach(([title], at) => tabs.append(h("button", { type: "button", onclick: () => show(at) }, title)));
  show(Math.min(chosen.get(key) ?? 0, all.length - 1));
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, name), h("span", { class: "soft" }, `${shown.content_type}, ${bytes(shown.bytes)}`),
      h("div", { class: "actions" }, all.length > 1 ? tabs : null, path ? act("Download", () => download(path, file)) : null)),
    place);
}
