// Plugins: which versions are kept and serve where, what each may touch, why others do not serve.

import { get, post, remove, upload } from "../api.js";
import { act, agreed, ask, tell } from "../dialogs.js";
import { badge, every, h, head, nothing, redraw, replace, sheet, table } from "../dom.js";
import { bytes, count, moment, short } from "../format.js";
import { long } from "../viewer.js";
import { canary, failures, tryOut } from "./canary.js";

export async function plugins({ place, signal, shared }) {
  const list = h("div", { class: "grid plugins" });
  let said = "";
  const draw = async () => {
    // Hosts tell of the files of their folders too, and of what serves a tenant without being its own.
    const [{ plugins: served }, { plugins: kept }] = await Promise.all([get("/hosts/plugins"), get("/plugins")]);
    const now = JSON.stringify([served, kept]);
    if (signal.aborted || now === said) return;
    said = now;
    const names = [...new Set([...served.map((one) => one.name), ...kept.map((one) => one.plugin)])].sort();
    redraw(list, names.length === 0 ? nothing("No plugin: put one into a host's plugin folder, or upload one.")
      : names.map((name) => plugin({ name, here: served.filter((one) => one.name === name), kept: kept.find((one) => one.plugin === name), shared, draw })));
  };
  const brings = shared.may(shared.seesAll() ? "admin" : "operate");
  replace(place, head("Plugins", null, [
    brings ? h("button", { type: "button", class: "main", onclick: () => bring(draw) }, "Upload a version") : null,
    shared.may("operate") && shared.seesAll() ? act("Look through the folders", async () => {
      const { hosts } = await post("/hosts/rescan");
      return `${hosts} hosts look through their plugin folders`;
    }) : null]), list);
  await draw();
  every(2000, signal, draw);
}

/** Where the API has a plugin: `path("/rollback")`. */
const at = (kept) => (rest) => `/plugins/${encodeURIComponent(kept.name)}${rest}${kept.owner ? `?tenant=${encodeURIComponent(kept.owner)}` : ""}`;

/** One plugin: `here` is how each host sees it, `kept` what is kept of it for all hosts. */
function plugin({ name, here, kept, shared, draw }) {
  const versions = byDigest(here, kept);
  const serving = versions.filter((version) => version.on.length > 0);
  const types = [...new Set(here.flatMap((one) => one.serving?.task_types ?? []))].sort();
  const tenants = [...new Set(here.flatMap((one) => one.serving?.tenants ?? []))].filter((tenant) => tenant !== "*");
  const owner = kept?.owner ?? here[0]?.owner;
  const operates = kept?.versions.length && shared.may("operate");
  const tries = serving.length > 0 && (!kept?.canary || kept.canary.verdict);
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, name), serving.length > 1 || here.some((one) => one.mixed) ? badge("mixed") : null,
      here.some((one) => one.rejected) ? badge("rejected") : null, here.some((one) => one.by_fleet) ? badge("fleet") : null,
      owner ? h("span", { class: "soft" }, `of tenant ${owner}`) : null,
      operates ? h("div", { class: "actions" }, kept.steps.length > 1 ? rollback(kept, draw) : null,
        shared.may(shared.seesAll() ? "admin" : "operate") ? forget(kept, draw) : null) : null),
    types.length ? h("p", { class: "chips" }, types.map((type) => [h("a", { class: "chip", href: `#/tasks?type=${encodeURIComponent(type)}` }, type), " "])) : null,
    tenants.length ? h("p", { class: "soft" }, `Serves ${tenants.join(", ")}`) : null,
    kept ? canary(kept, at(kept), operates, draw) : null,
    table([["Version"], ["Digest", "id wide"], ["State"], ["Hosts"], ["Failed", "wide"], ["Since", "wide"], [""]], versions.map((version) => [
      version.version ?? "", h("span", { title: version.digest }, version.digest.slice(0, 12)), version.states.map((state) => [badge(state), " "]),
      [...version.on, ...version.also].join(", "), failures(version), moment(version.since),
      version.kept ? h("div", { class: "row" }, look(kept, version), operates && !version.active ? [activate(kept, version, draw), tries ? tryOut(kept, version, at(kept), draw) : null] : null) : null]), "No host has a version of it."),
    here.flatMap((one) => one.rejected ? [refused(`Refused at the gate ${one.rejected.gate}`, one.host, one.rejected)] : []),
    here.flatMap((one) => one.pushed.filter((pushed) => pushed.reason).map((pushed) => refused(`Uploaded version ${pushed.digest.slice(0, 12)} refused at the gate ${pushed.gate}`, one.host, pushed))),
    [...new Set(here.flatMap((one) => one.serving?.contested ?? []))].map((reason) => h("p", { class: "soft" }, reason)),
    kept?.steps.length ? h("details", {}, h("summary", {}, `Activated ${count(kept.steps.length)} times`), table([["When"], ["Version"], ["By"]],
      kept.steps.toReversed().map((step) => [moment(step.at), [`${step.version ?? ""} `, h("span", { class: "id" }, step.digest.slice(0, 12)), step.rollback ? " rolled back" : ""], step.by]), "")) : null);
}

const refused = (what, host, { at: when, reason }) =>
  h("div", { class: "failure" }, h("p", {}, h("b", {}, what), ` by ${host}, `, moment(when)), long(reason));

/** Versions, those that serve first: on which hosts, in which states, since when. */
function byDigest(here, kept) {
  const versions = new Map();
  const of = (digest) => {
    if (!versions.has(digest)) versions.set(digest, { digest, states: [], on: [], also: [], since: 0, attempts: 0, failed: 0 });
    return versions.get(digest);
  };
  const mark = (version, state, since) => {
    if (!version.states.includes(state)) version.states.push(state);
    version.since = Math.max(version.since, since);
  };
  for (const one of here) {
    if (one.serving) {
      const version = of(one.serving.digest);
      version.version = one.serving.version;
      version.on.push(one.host);
      version.attempts += one.serving.attempts;
      version.failed += one.serving.failed;
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
  for (const one of kept?.versions ?? []) {
    const version = of(one.digest);
    version.version ??= one.version;
    version.kept = true;
    version.active = kept.active === one.digest;
    mark(version, version.active ? "active" : "kept", version.since ? 0 : one.pushed_at);
  }
  if (kept?.canary && !kept.canary.verdict) mark(of(kept.canary.digest), "canary", 0);
  return [...versions.values()].sort((a, b) => b.on.length - a.on.length || b.since - a.since);
}

function activate(kept, version, draw) {
  const short = version.digest.slice(0, 12);
  const send = async (force) => post(at(kept)("/activate"), { version: version.digest, force });
  return act("Activate", async () => {
    try {
      await send(false);
    } catch (problem) {
      // A host has refused it: whoever insists may have it active all the same.
      if (problem.status !== 409 || !(await agreed(problem.message, "Activate it all the same"))) throw problem;
      await send(true);
    }
    await draw();
    return `${short} is active; hosts follow`;
  }, { class: "small", title: `Activate ${short}`, confirm: `Let all hosts serve ${short} of ${kept.plugin} from now on? What runs ends on the version that it began with.` });
}

const rollback = (kept, draw) => act("Roll back", async () => {
  const { digest } = await post(at(kept)("/rollback"));
  await draw();
  return `${digest.slice(0, 12)} is active again; hosts follow`;
}, { class: "small", title: `Roll back ${kept.plugin}`, confirm: `Let all hosts serve the version of ${kept.plugin} again that was active before?` });

const forget = (kept, draw) => act("Forget", async () => {
  await remove(at(kept)(""));
  await draw();
  return `${kept.plugin} is kept no more`;
}, { class: "small danger", title: `Forget ${kept.plugin}`, confirm: `Forget all ${count(kept.versions.length)} versions of ${kept.plugin} that are kept? Hosts go back to the file of their folder, if there is one.` });

/** What a version asks for, has and handles. */
const look = (kept, version) => act("Look", async () => {
  const seen = await get(at(kept)(`/versions/${version.digest}`));
  const one = kept.versions.find(({ digest }) => digest === version.digest);
  tell(`${kept.plugin} ${version.digest.slice(0, 12)}`,
    sheet([["Calls itself", seen.description ? `${seen.description.name} ${seen.description.version}` : null], ["Size", bytes(one.size_bytes)],
      ["Signed", one.is_signed ? "yes" : "no"], ["Uploaded", [moment(one.pushed_at), ` by ${one.pushed_by}`]], ["Kind", seen.description?.kind]]),
    seen.refused ? h("div", { class: "failure" }, h("p", {}, h("b", {}, `Refused at the gate ${seen.refused.gate}`)), long(seen.refused.reason)) : null,
    h("h3", {}, "Grants"),
    table([["Asks for"], ["Has it by"]], [
      ...seen.granted.map((one) => [one.import, one.grant ?? "needs no grant"]),
      ...seen.missing.map((one) => [one.import, [h("b", { class: "failed" }, "not granted"), ` ${one.reason}`, one.line ? h("pre", { tabindex: "0" }, one.line) : null]])], "It asks for nothing."),
    seen.description ? [h("h3", {}, "Handles"), table([["Type"], ["Limits"], ["What it says of itself"]], seen.description.handlers.map((one) => [one.type, limits(one.limits), one.description]), "Nothing.")] : null,
    seen.manifest ? [h("h3", {}, "Manifest"), long(seen.manifest)] : null);
}, { class: "small", title: `Look at ${version.digest.slice(0, 12)}` });

const limits = (wanted) => Object.entries(wanted).filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => `${name.replaceAll("_", " ")} ${short(value)}`).join(", ");

/** Ask for a component, and keep it for all hosts. */
function bring(draw) {
  const name = h("input", { name: "name", required: true });
  const component = h("input", { name: "component", type: "file", accept: ".wasm", required: true });
  const manifest = h("input", { name: "manifest", type: "file", accept: ".toml" });
  component.addEventListener("change", () => { name.value ||= component.files[0]?.name.replace(/\.wasm$/, "") ?? ""; });
  ask("Upload a version", [h("label", {}, "Component", component), h("label", {}, "Manifest, if it has one", manifest), h("label", {}, "Plugin", name),
    h("p", { class: "soft" }, "It goes through the gates of this host first, and serves when it is activated.")], "Upload it", async () => {
    const form = new FormData();
    form.append("component", component.files[0]);
    if (manifest.files[0]) form.append("manifest", manifest.files[0]);
    const { digest, was_known: known } = await upload(`/plugins/${encodeURIComponent(name.value)}/versions`, form);
    await draw();
    return `${digest.slice(0, 12)} is kept${known ? ", as it was" : ""}`;
  });
}
