// Dead letters: why they failed, and what becomes of them.

import { post } from "../api.js";
import { act, h, replace } from "../dom.js";
import { count } from "../format.js";
import { each, retryMarked, taskList } from "./tasks.js";

export async function dead({ place, query, shared }) {
  const queue = query.get("queue");
  const kind = query.get("failure");
  const form = h("form", { class: "row", role: "search" },
    h("label", {}, "Queue", h("input", { name: "queue", value: queue ?? "", size: 14 })),
    h("label", {}, "Failure", h("input", { name: "failure", value: kind ?? "", size: 14, placeholder: "timed_out" })),
    h("label", {}, "Text", h("input", { name: "contains", value: query.get("contains") ?? "", size: 20 })),
    h("button", { type: "submit", class: "main" }, "Search"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/dead?${new URLSearchParams([...new FormData(form)].filter(([, value]) => value))}`;
  });
  const filter = Object.fromEntries([["state", "failed"], ["queue", queue], ["failure", kind], ["contains", query.get("contains")]].filter(([, value]) => value));
  const all = shared.may("operate")
    ? act("Run all of these again", async () => {
        const { done, more } = await post("/tasks/retry", { filter });
        return `${count(done)} are in line again${more ? "; there are more" : ""}`;
      }, { confirm: "Give all dead letters that this search finds fresh attempts?" })
    : null;
  const drop = (marked) => act("Drop them", async () => {
    const done = await each(marked, async (of, ids) => (await post(`/queues/${encodeURIComponent(of)}/dead/drop`, { ids })).removed);
    return `${count(done)} are gone`;
  }, { class: "danger", confirm: `Forget ${count(marked.length)} dead letters for good?` });
  replace(place, h("h1", {}, "Dead letters"), form, h("div", { class: "row" }, all),
    taskList({
      filters: Object.entries(filter),
      actions: shared.may("operate") ? (marked) => [retryMarked(marked), drop(marked)] : null,
      empty: "No dead letter is so.",
    }));
}
