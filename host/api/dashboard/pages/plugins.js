// Plugins: which versions serve where, and why others do not.

import { get, post } from "../api.js";
import { act, badge, h, replace, table } from "../dom.js";
import { ago } from "../format.js";

export async function plugins({ place, signal, shared }) {
  const list = h("div");
  const draw = async () => {
    const found = (await get("/hosts/plugins")).plugins;
    if (signal.aborted) return;
    const names = [...new Set(found.map((one) => one.name))];
    replace(list, names.length === 0 ? h("p", { class: "empty" }, "No running host has a plugin.") : names.map((name) => {
      const here = found.filter((one) => one.name === name);
      const digests = new Set(here.map((one) => one.serving?.digest).filter(Boolean));
      return h("section", { class: "panel" },
        h("h2", {}, name, " ", digests.size > 1 ? badge("mixed") : null),
        table([["Host"], ["State"], ["Version"], ["Digest", "id"], ["Task types"], ["Tenants", "wide"], ["Since", "wide"]], here.flatMap((one) => [
          one.serving ? [one.host, badge("serving"), one.serving.version, one.serving.digest.slice(0, 12), one.serving.task_types.join(", "), one.serving.tenants.join(", "), ago(one.serving.loaded_at)] : null,
          one.rejected ? [one.host, badge("rejected"), `gate ${one.rejected.gate}`, one.rejected.digest.slice(0, 12), one.rejected.reason, "", ago(one.rejected.at)] : null,
        ].filter(Boolean)), "No host has it."),
        here.flatMap((one) => one.serving?.contested ?? []).map((reason) => h("p", {}, reason)));
    }));
  };
  replace(place, h("h1", {}, "Plugins"),
    shared.may("operate") ? h("div", { class: "row" }, act("Look through the folders", async () => {
      const { hosts } = await post("/hosts/rescan");
      setTimeout(() => draw().catch(() => {}), 1500);
      return `${hosts} hosts look through their plugin folders`;
    })) : null, list);
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 4000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
