// The journal: who changed what. It is the administrators' page and has the tokens too.

import { get, post, remove } from "../api.js";
import { act, ask, tell } from "../dialogs.js";
import { badge, every, h, head, panel, redraw, replace, table } from "../dom.js";
import { moment } from "../format.js";

const SCOPES = ["read", "submit", "operate", "admin"];

export async function journal({ place, signal }) {
  const [tokens, lines] = [h("div"), h("div")];
  const draw = async () => {
    const [known, written] = await Promise.all([get("/tokens"), get("/journal?limit=200")]);
    if (signal.aborted) return;
    redraw(tokens, table([["Token"], ["Id", "id wide"], ["Scopes"], ["Tenant"], ["Made", "wide"], ["Ends", "wide"], [""]],
      known.tokens.map((token) => [token.name, token.id, token.scopes.map((scope) => [badge(scope), " "]), token.tenant ?? "all", moment(token.created_at), token.expires_at ? moment(token.expires_at) : "never",
        act("Revoke", async () => { await remove(`/tokens/${token.id}`); await draw(); return `${token.name} is revoked`; }, { class: "danger small", title: `Revoke ${token.name}`, confirm: `Revoke the token ${token.name}? Whoever uses it is let in no more.` })]),
      "No token."));
    redraw(lines, table([["When"], ["Who"], ["Did"], ["To"], ["Detail", "wide"]],
      written.lines.toReversed().map((line) => [moment(line.at), line.actor, line.action, line.object, line.detail]), "Nothing is written down."));
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
      // After the dialog that asked has closed, so that the focus finds its way back.
      setTimeout(() => tell("The token, shown this once", h("pre", { tabindex: "0" }, text)));
    });
  };
  replace(place, head("Journal and tokens", null, h("button", { type: "button", class: "main", onclick: make }, "Make a token")), panel("Tokens", tokens), panel("Who changed what", lines));
  await draw();
  every(3000, signal, draw);
}
