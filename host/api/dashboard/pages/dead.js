// Dead letters: why they failed, and what becomes of them.

import { get, post } from "../api.js";
import { act } from "../dialogs.js";
import { h, head, replace } from "../dom.js";
import { count } from "../format.js";
import { each, refreshButton, retryMarked, search, taskList } from "./tasks.js";

const FAILURES = ["retry", "reject", "trapped", "timed_out", "out_of_fuel", "out_of_memory", "stack_overflow", "result_too_large", "hostcall_too_large", "too_many_handles", "too_many_instances", "lease_lost", "cancelled", "unreadable"];
const FILTERS = ["queue", "type", "tenant", "failure", "contains"];

export async function dead({ place, query, signal, shared }) {
  const filter = Object.fromEntries([["state", "failed"], ...FILTERS.map((name) => [name, query.get(name)])].filter(([, value]) => value));
  const drop = (marked, reload) => act("Drop them", async () => {
    const done = await each(marked, async (of, ids) => (await post(`/queues/${encodeURIComponent(of)}/dead/drop`, { ids })).removed);
    await reload();
    return `${count(done)} are gone`;
  }, { class: "danger", confirm: `Forget ${count(marked.length)} dead letters for good?` });
  const list = taskList({
    name: "Dead letters", filters: Object.entries(filter), signal, shared,
    actions: shared.may("operate") ? (marked, reload) => [retryMarked(marked, reload), drop(marked, reload)] : null,
    empty: Object.keys(filter).length > 1 ? "No dead letter is so." : "No dead letters: nothing has failed for good.",
  });
  const all = shared.may("operate")
    ? [act("Run all of these again", async () => {
        const { done, more } = await post("/tasks/retry", { filter });
        await list.reload();
        return `${count(done)} are in line again${more ? "; there are more" : ""}`;
      }, { confirm: "Give all dead letters that this search finds fresh attempts?" }),
      act("Drop all of these", async () => {
        const done = await dropAll(filter);
        await list.reload();
        return `${count(done)} are gone`;
      }, { class: "danger", confirm: "Forget all dead letters that this search finds for good?" })]
    : null;
  replace(place, head("Dead letters", null, [refreshButton(list), all]),
    h("div", { class: "searches" }, search("dead", query, [["failure", "Failure", FAILURES], ["queue", "Queue"], ["type", "Type"], ["tenant", "Tenant"], ["contains", "Text in failure, metadata, payload", null, "grow"]])), list.element);
}

/** Drop whatever a filter finds, a part of the list at a time; how many they were. */
async function dropAll(filter) {
  let done = 0;
  let cursor = "";
  for (;;) {
    const { tasks, next } = await get(`/tasks?${new URLSearchParams(filter)}&limit=1000${cursor}`);
    done += await each(tasks, async (of, ids) => (await post(`/queues/${encodeURIComponent(of)}/dead/drop`, { ids })).removed);
    if (next === null) return done;
    cursor = `&cursor=${encodeURIComponent(next)}`;
  }
}
