// Plugins: which versions serve where, what each may touch, and why others do not serve.

import { get, post } from "../api.js";
import { act } from "../dialogs.js";
import { badge, every, h, head, nothing, redraw, replace, table } from "../dom.js";
import { moment } from "../format.js";
import { long } from "../viewer.js";

export async function plugins({ place, signal, shared }) {
  const list = h("div", { class: "grid plugins" });
  let said = "";
  const draw = async () => {
    const found = (await get("/hosts/plugins")).plugins;
    if (signal.aborted || JSON.stringify(found) === said) return;
    said = JSON.stringify(found);
    const names = [...new Set(found.map((one) => one.name))];
    redraw(list, names.length === 0 ? nothing("No running host has a plugin: put one into a host's plugin folder.") : names.map((name) => plugin(name, found.filter((one) => one.name === name))));
  };
  replace(place, head("Plugins", null,
    shared.may("operate") && shared.seesAll() ? act("Look through the folders", async () => {
      const { hosts } = await post("/hosts/rescan");
      return `${hosts} hosts look through their plugin folders`;
    }) : null), list);
  await draw();
  every(2000, signal, draw);
}

/** One plugin: `here` is how each host sees it. */
function plugin(name, here) {
  const versions = byDigest(here);
  const serving = versions.filter((version) => version.on.length > 0);
  const types = [...new Set(here.flatMap((one) => one.serving?.task_types ?? []))].sort();
  const tenants = [...new Set(here.flatMap((one) => one.serving?.tenants ?? []))].filter((tenant) => tenant !== "*");
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, name), serving.length > 1 || here.some((one) => one.mixed) ? badge("mixed") : null,
      here.some((one) => one.rejected) ? badge("rejected") : null, here.some((one) => one.by_fleet) ? badge("fleet") : null,
      here[0].owner ? h("span", { class: "soft" }, `of tenant ${here[0].owner}`) : null),
    types.length ? h("p", { class: "chips" }, types.map((type) => [h("a", { class: "chip", href: `#/tasks?type=${encodeURIComponent(type)}` }, type), " "])) : null,
    tenants.length ? h("p", { class: "soft" }, `Serves ${tenants.join(", ")}`) : null,
    table([["Version"], ["Digest", "id"], ["State"], ["Hosts"], ["Kind", "wide"], ["Since", "wide"]], versions.map((version) => [
      version.version ?? "", h("span", { title: version.digest }, version.digest.slice(0, 12)), version.states.map((state) => [badge(state), " "]),
      [...version.on, ...version.also].join(", "), version.kind ?? "", moment(version.since)]), "No host has a version of it."),
    here.flatMap((one) => one.rejected ? [h("div", { class: "failure" }, h("p", {}, h("b", {}, `Refused at the gate ${one.rejected.gate}`), ` by ${one.host}, `, moment(one.rejected.at)), long(one.rejected.reason))] : []),
    here.flatMap((one) => one.pushed.filter((pushed) => pushed.reason).map((pushed) => h("div", { class: "failure" }, h("p", {}, h("b", {}, `Pushed version ${pushed.digest.slice(0, 12)} refused at the gate ${pushed.gate}`), ` by ${one.host}`), long(pushed.reason)))),
    [...new Set(here.flatMap((one) => one.serving?.contested ?? []))].map((reason) => h("p", { class: "soft" }, reason)));
}

/** Versions, those that serve first: on which hosts, in which states, since when. */
function byDigest(here) {
  const versions = new Map();
  const of = (digest) => {
    if (!versions.has(digest)) versions.set(digest, { digest, states: [], on: [], also: [], since: 0 });
    return versions.get(digest);
  };
  const mark = (version, state, at) => {
    if (!version.states.includes(state)) version.states.push(state);
    version.since = Math.max(version.since, at);
  };
  for (const one of here) {
    if (one.serving) {
      const version = of(one.serving.digest);
      Object.assign(version, { version: one.serving.version, kind: one.serving.kind });
      version.on.push(one.host);
      mark(version, "serving", one.serving.loaded_at);
    }
    for (const pushed of one.pushed) {
      const version = of(pushed.digest);
      if (!version.on.includes(one.host)) version.also.push(one.host);
      mark(version, pushed.state, pushed.at);
    }
    if (one.rejected) {
      const version = of(one.rejected.digest);
      version.also.push(one.host);
      mark(version, "rejected", one.rejected.at);
    }
  }
  return [...versions.values()].sort((a, b) => b.on.length - a.on.length || b.since - a.since);
}
