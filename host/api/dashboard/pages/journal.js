// The journal: who changed what. The administrators' page has the tokens too.

import { get, post, remove } from "../api.js";
import { act, ask, badge, h, replace, table } from "../dom.js";
import { ago, time } from "../format.js";

const SCOPES = ["read", "submit", "operate", "admin"];

export async function journal({ place, shared }) {
  if (!shared.may("admin")) {
    replace(place, h("h1", {}, "Journal"), h("p", { class: "empty" }, "This takes the scope admin."));
    return;
  }
  const tokens = h("div", { class: "panel" });
  const lines = h("div", { class: "panel" });
  const draw = async () => {
    const [known, written] = await Promise.all([get("/tokens"), get("/journal?limit=200")]);
    replace(tokens, table([["Token"], ["Id", "id wide"], ["Scopes"], ["Tenant"], ["Made", "wide"], ["Ends", "wide"], [""]],
      known.tokens.map((token) => [token.name, token.id, token.scopes.map((scope) => [badge(scope), " "]), token.tenant ?? "all", ago(token.created_at), token.expires_at ? ago(token.expires_at) : "never",
        act("Revoke", async () => { await remove(`/tokens/${token.id}`); await draw(); return `${token.name} is revoked`; }, { class: "danger", confirm: `Revoke the token ${token.name}?` })]),
      "No token."));
    replace(lines, table([["When", "wide"], ["Who"], ["Did"], ["To"], ["Detail", "wide"]],
      written.lines.reverse().map((line) => [time(line.at), line.actor, line.action, line.object, line.detail]), "Nothing is written down."));
  };
  const make = () => {
    const name = h("input", { name: "name", required: true });
    const tenant = h("input", { name: "tenant", placeholder: "all" });
    const ttl = h("input", { name: "ttl", placeholder: "90d; empty is for ever" });
    const scopes = SCOPES.map((scope) => h("input", { type: "checkbox", name: scope, checked: scope === "read" }));
    ask("Make a token", [h("label", {}, "Name", name), h("fieldset", { class: "row" }, h("legend", {}, "Scopes"), scopes.map((box, at) => h("label", { class: "check" }, box, SCOPES[at]))),
      h("label", {}, "Tenant", tenant), h("label", {}, "Ends after", ttl)], "Make it", async () => {
      const wanted = { name: name.value, scopes: SCOPES.filter((scope, at) => scopes[at].checked) };
      if (tenant.value) wanted.tenant = tenant.value;
      if (ttl.value) wanted.ttl = ttl.value;
      const { text } = await post("/tokens", wanted);
      await draw();
      ask("The token, shown this once", [h("pre", {}, text)], "I have it", async () => null);
    });
  };
  replace(place, h("h1", {}, "Journal and tokens"), h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: make }, "Make a token")), tokens, h("h2", {}, "Who changed what"), lines);
  await draw();
}
