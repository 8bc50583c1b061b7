// A canary: a version that a share of a plugin's tasks goes to, until it is judged.

import { post, remove } from "../api.js";
import { bar } from "../chart.js";
import { act, ask } from "../dialogs.js";
import { badge, h, sheet, table } from "../dom.js";
import { count, micros, moment, short } from "../format.js";

const percent = (share) => `${short(share * 100)} %`;
const named = (canary) => [h("span", { class: "id", title: canary.digest }, canary.digest.slice(0, 12)), canary.version ? ` (${canary.version})` : ""];

/** How many attempts failed, of how many. */
export const failures = ({ attempts, failed }) => (attempts ? `${count(failed)} of ${count(attempts)}, ${percent(failed / attempts)}` : "");

/** The canary that runs, or how the last one ended; `at` is where the API has the plugin. */
export function canary({ canary, plugin }, at, operates, draw) {
  if (!canary) return null;
  const sides = table([["Version"], ["Attempts", "number"], ["Failed", "number"], ["On both", "number"], ["95 of 100 within", "number"]],
    [["new", canary.new], ["old", canary.old]].map(([name, side]) =>
      [name, count(side.attempts), failures({ attempts: side.attempts, failed: side.failures }), count(side.excused), side.p95_us === null ? "" : micros(side.p95_us)]), "");
  if (canary.verdict) {
    const { end, reason, at: when, by } = canary.verdict;
    return h("details", {}, h("summary", {}, "Last canary: ", named(canary), " ", badge(end), " ", moment(when)), h("p", {}, `${reason}, by ${by}`), sides);
  }
  const of = canary.by === "tenant" ? "tenants" : "tasks";
  const done = Math.min(canary.new.attempts, canary.old.attempts, canary.attempts);
  return h("div", { class: "canary" },
    h("div", { class: "panel-head" }, h("h3", {}, "Canary ", named(canary)), badge("running"),
      operates ? h("div", { class: "actions" }, end(plugin, at, draw, "Stop", "old"), end(plugin, at, draw, "Promote", "new")) : null),
    sheet([["Share", `${percent(canary.share)} of ${of}, round ${canary.round} of ${canary.shares.length}`], ["Bound", `${percent(canary.harm)} of all tasks`],
      ["Judged against", canary.base ? canary.base.slice(0, 12) : "what is in hosts' folders"], ["Began", [moment(canary.began_at), ` by ${canary.began_by}`]], ["Over", moment(canary.ends_at)]]),
    h("div", { class: "gauge" }, h("div", { class: "said" }, h("span", {}, "This round"), h("b", {}, `${count(done)} of ${count(canary.attempts)}`)), bar(done / canary.attempts, `${count(done)} of ${count(canary.attempts)} attempts of this round`, "fair")),
    sides);
}

const end = (plugin, at, draw, text, side) => act(text, async () => {
  await (side === "new" ? post(at("/canary/promote")) : remove(at("/canary")));
  await draw();
  return `The ${side} version of ${plugin} gets all tasks`;
}, { class: "small", title: `${text} the canary of ${plugin}`, confirm: `End the canary? The ${side} version of ${plugin} serves all of its tasks then.` });

/** A button that lets a share of the tasks go to a version. */
export function tryOut({ plugin }, version, at, draw) {
  const label = version.digest.slice(0, 12);
  const begin = () => {
    const field = (name, value, more) => h("input", { name, type: "number", value, required: true, ...more });
    const [share, attempts] = [field("share", 5, { min: 0.1, max: 99, step: "any" }), field("attempts", 500, { min: 1 })];
    const by = h("select", { name: "by" }, h("option", { value: "task" }, "tasks"), h("option", { value: "tenant" }, "tenants, with all of their tasks"));
    ask(`Try ${label}`, [h("label", {}, "Percent at first", share), h("label", {}, "Of", by), h("label", {}, "Attempts a round", attempts),
      h("p", { class: "soft" }, "Hosts judge it against the version that serves: by its failures and its latency. It gets more and then all, or none any more.")], "Begin", async () => {
      const first = share.valueAsNumber / 100;
      const shares = [first, ...[0.25, 0.5].filter((next) => next > first)];
      await post(at("/canary"), { version: version.digest, shares, by: by.value, attempts: attempts.valueAsNumber });
      await draw();
      return `${label} gets ${percent(first)}`;
    });
  };
  return h("button", { type: "button", class: "small", title: `Try ${label}`, onclick: begin }, "Try");
}
