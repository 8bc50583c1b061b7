// One task: what it is, what happened to it, what it was given and gave.

import { download, get, post } from "../api.js";
import { bar } from "../chart.js";
import { act, ask, badge, h, replace, sheet } from "../dom.js";
import { ago, bytes, count, micros, span, time } from "../format.js";

export async function task({ place, rest: [queue, id], signal, shared, title }) {
  title(`Task ${id.slice(-12)}`);
  const path = `/queues/${encodeURIComponent(queue)}/tasks/${encodeURIComponent(id)}`;
  const head = h("div");
  const body = h("div");
  replace(place, h("h1", {}, `Task ${id}`), head, body);
  const refresh = async () => {
    const shown = await get(path);
    if (signal.aborted) return null;
    replace(head, actions(path, shown, shared, refresh));
    replace(body, facts(shown), h("h2", {}, "What happened"), timeline(shown), payload("Payload", shown.payload, `${path}/payload`, id),
      shown.state === "completed" ? payload("Output", shown.output, `${path}/result`, id) : null);
    return shown;
  };
  const shown = await refresh();
  if (["completed", "failed", "cancelled", "expired"].includes(shown?.state)) return;
  const timer = setInterval(async () => {
    const now = await refresh().catch(() => null);
    if (["completed", "failed", "cancelled", "expired"].includes(now?.state)) clearInterval(timer);
  }, 1500);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function actions(path, shown, shared, refresh) {
  const ended = ["completed", "failed", "cancelled", "expired"].includes(shown.state);
  if (!shared.may("operate")) return badge(shown.state);
  const edit = () => {
    const text = h("textarea", { name: "payload", spellcheck: "false", "aria-label": "Payload" });
    const { payload: before } = shown;
    text.value = before.json !== undefined ? JSON.stringify(before.json, null, 2) : (before.text ?? before.base64);
    ask("Run it again with another payload", [text, h("p", {}, before.json !== undefined ? "JSON" : before.base64 ? "base64" : before.content_type)], "Run it", async () => {
      const edited = { content_type: before.content_type };
      if (before.json !== undefined) {
        try { edited.payload = JSON.parse(text.value); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
      } else if (before.base64 !== undefined) edited.payload_base64 = text.value.trim();
      else edited.payload = text.value;
      await post(`${path}/edit`, edited);
      await refresh();
      return "It is in line with the new payload.";
    });
  };
  return h("div", { class: "row" }, badge(shown.state), shown.cancel_requested ? badge("asked to stop") : null,
    ended || shown.state === "scheduled"
      ? act("Run it again", async () => { await post(`${path}/retry`); await refresh(); return "It is in line."; }, { class: "main" })
      : null,
    ended && shown.payload ? h("button", { type: "button", onclick: edit }, "Edit and run") : null,
    ended ? null : act("Cancel", async () => {
      const { answer } = await post(`${path}/cancel`);
      await refresh();
      return answer === "requested" ? "Its host was asked to stop it." : "It is cancelled.";
    }, { class: "danger", confirm: "Cancel this task?" }));
}

function facts(shown) {
  const moment = (at) => (at ? `${time(at)} (${ago(at)})` : null);
  return h("div", { class: "panel" },
    shown.progress ? h("div", {}, bar(shown.progress.fraction, "progress"), h("p", {}, `${Math.round(shown.progress.fraction * 100)} % ${shown.progress.message}`)) : null,
    sheet([
      ["Type", shown.type], ["Queue", h("a", { href: `#/queues/${encodeURIComponent(shown.queue)}` }, shown.queue)], ["Tenant", shown.tenant],
      ["Priority", shown.priority], ["Attempts", count(shown.attempts)], ["Submitted", moment(shown.submitted_at)], ["Due", moment(shown.due_at)],
      ["Kept until", moment(shown.kept_until)], ["Runs on", shown.lease?.host], ["Lease until", moment(shown.lease?.lease_until)],
      ["Waits for", shown.waits_for?.map((task) => [h("a", { href: `#/tasks/${task}` }, task), " "])], ["Not before", moment(shown.not_before)],
      ["Expires", moment(shown.expires_at)], ["Deadline", moment(shown.deadline_at)], ["Key", shown.key], ["Unique key", shown.unique?.key],
      ["After", shown.after?.map((task) => [h("a", { href: `#/tasks/${task}` }, task), " "])], ["Batch", shown.batch], ["Schedule", shown.schedule],
      ...Object.entries(shown.metadata ?? {}).map(([key, value]) => [`meta ${key}`, value]),
      ["Unreadable", shown.unreadable],
    ]));
}

function timeline(shown) {
  if (shown.history.length === 0) return h("p", { class: "empty" }, "Nothing yet.");
  return h("ol", { class: "timeline" }, shown.history.map((entry) => {
    if (entry.event !== "ended") return h("li", { class: entry.event }, h("strong", {}, entry.event.replaceAll("_", " ")), " ", other(entry));
    return h("li", { class: entry.next }, attempt(entry));
  }));
}

const other = (entry) => [time(entry.at), entry.host, entry.parent, entry.state, entry.replaced_by && `replaced by ${entry.replaced_by}`].filter(Boolean).join(", ");

function attempt(entry) {
  const used = entry.metering;
  return h("div", {},
    h("strong", {}, `Attempt ${entry.attempt} `), badge(entry.outcome === "done" ? "completed" : entry.outcome), ` then ${entry.next.replaceAll("_", " ")}`,
    sheet([["Began", time(entry.started_at)], ["Host", entry.host], ["Plugin", entry.plugin ? `${entry.plugin} ${(entry.digest ?? "").slice(0, 12)}` : null],
      ["Took", `${micros(used.wall_us)}, of which ${micros(used.cpu_us)} CPU, ${micros(used.instantiate_us)} to instantiate`],
      ["Fuel", count(used.fuel)], ["Memory", bytes(used.peak_memory_bytes)],
      ["Host calls", used.host_calls ? `${count(used.host_calls)}, ${bytes(used.bytes_in)} in, ${bytes(used.bytes_out)} out` : null]]),
    entry.failure ? h("div", {}, h("h3", {}, "Why it failed"), h("pre", {}, entry.failure.message),
      entry.failure.details ? h("pre", {}, entry.failure.details) : null,
      entry.failure.backtrace.length ? h("details", {}, h("summary", {}, "Backtrace"), h("pre", {}, entry.failure.backtrace.join("\n"))) : null) : null,
    entry.logs.length ? h("details", { open: true }, h("summary", {}, `Log, ${entry.logs.length} lines${used.log_lines_dropped ? `, ${count(used.log_lines_dropped)} dropped` : ""}`),
      h("pre", { class: "log" }, entry.logs.map((line) => h("div", { class: line.level },
        h("span", { class: "time" }, `${span(line.at_ms)} `), `${line.level} ${line.message} `,
        h("span", { class: "fields" }, line.fields.map(([key, value]) => `${key}=${value}`).join(" ")))))) : null);
}

function payload(name, shown, path, id) {
  if (!shown) return null;
  const text = shown.json !== undefined ? JSON.stringify(shown.json, null, 2) : shown.text;
  const cut = text !== undefined && text.length > 20_000;
  return h("section", {}, h("h2", {}, name),
    h("div", { class: "row" }, h("span", {}, `${shown.content_type}, ${bytes(shown.bytes)}`), act("Download", () => download(path, id))),
    text === undefined ? h("p", { class: "empty" }, "These bytes are no text.") : h("pre", {}, cut ? `${text.slice(0, 20_000)}…` : text));
}
