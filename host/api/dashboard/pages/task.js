// One task: what it is, what happened to it, what it was given and gave.

import { get, post } from "../api.js";
import { bar, spans } from "../chart.js";
import { act, ask } from "../dialogs.js";
import { badge, every, h, head, nothing, panel, redraw, replace, sheet, visibleJson } from "../dom.js";
import { bytes, count, micros, moment, short, span, time } from "../format.js";
import { long, viewer } from "../viewer.js";

const ENDED = ["completed", "failed", "cancelled", "expired"];

export async function task({ place, rest: [queue, id], signal, shared, title }) {
  title(`Task ${id.slice(-12)}`);
  const path = `/queues/${encodeURIComponent(queue)}/tasks/${encodeURIComponent(id)}`;
  const [top, facts, story, payloads] = Array.from({ length: 4 }, () => h("div"));
  replace(place, top, h("div", { class: "grid task" }, h("div", {}, facts), h("div", {}, story)), payloads);
  let said = "";
  const refresh = async () => {
    const shown = await get(path);
    if (signal.aborted) return null;
    redraw(top, head([h("span", { class: "soft" }, "Task "), shown.type ?? "?"], [badge(shown.state), shown.cancel_requested ? badge("asked to stop") : null], shared.may("operate") ? actions(path, shown, refresh) : null),
      h("p", { class: "id" }, shown.id));
    redraw(facts, panel("What it is", progress(shown), what(shown)));
    // What is long is drawn anew only when something happened.
    const now = JSON.stringify([shown.state, shown.attempts, shown.history.length, shown.payload, shown.output?.bytes]);
    if (now !== said) {
      said = now;
      replace(story, panel("What happened", chartOf(shown), timeline(shown)));
      replace(payloads, shown.payload ? viewer("Payload", shown.payload, `${path}/payload`, id) : null,
        shown.state === "completed" && shown.output ? viewer("Output", shown.output, `${path}/result`, id) : null);
    }
    return shown;
  };
  await refresh();
  every(1500, signal, refresh);
}

function actions(path, shown, refresh) {
  const ended = ENDED.includes(shown.state);
  const edit = () => {
    const text = h("textarea", { name: "payload", spellcheck: "false", "aria-label": "Payload" });
    const { payload: before } = shown;
    text.value = before.json !== undefined ? visibleJson(JSON.stringify(before.json, null, 2)) : (before.text ?? before.base64);
    ask("Run it again with another payload", [text, h("p", { class: "soft" }, before.json !== undefined ? "JSON" : before.base64 ? "base64" : before.content_type)], "Run it", async () => {
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
  return [
    ended || shown.state === "scheduled"
      ? act(ended ? "Run it again" : "Run it now", async () => { await post(`${path}/retry`); await refresh(); return "It is in line."; }, { class: "main" })
      : null,
    ended && shown.payload ? h("button", { type: "button", onclick: edit }, "Edit and run") : null,
    ended ? null : act("Cancel", async () => {
      const { answer } = await post(`${path}/cancel`);
      await refresh();
      return answer === "requested" ? "Its host was asked to stop it." : "It is cancelled.";
    }, { class: "danger", confirm: "Cancel this task?" })];
}

function progress(shown) {
  if (!shown.progress) return null;
  const percent = Math.round(shown.progress.fraction * 100);
  return h("div", { class: "gauge" }, h("div", { class: "said" }, h("span", {}, shown.progress.message || "Progress"), h("b", {}, `${percent} %`)), bar(shown.progress.fraction, `Progress: ${percent} %`, "fair"));
}

const links = (tasks) => (tasks?.length ? tasks.map((task) => [h("a", { class: "id", href: `#/tasks/${task}` }, String(task)), " "]) : null);

function what(shown) {
  const limits = Object.entries(shown.limits ?? {}).filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => `${name.replaceAll("_", " ")} ${short(value)}`);
  return [sheet([
    ["Queue", h("a", { href: `#/queues/${encodeURIComponent(shown.queue)}` }, shown.queue)], ["Tenant", shown.tenant],
    ["Priority", shown.priority], ["Attempts", count(shown.attempts)], ["Submitted", moment(shown.submitted_at)], ["Due", moment(shown.due_at)],
    ["Kept until", moment(shown.kept_until)], ["Runs on", shown.lease?.host], ["Lease until", moment(shown.lease?.lease_until)],
    ["Waits for", links(shown.waits_for)], ["Not before", moment(shown.not_before)],
    ["Expires", moment(shown.expires_at)], ["Deadline", moment(shown.deadline_at)], ["Key", shown.key], ["Unique key", shown.unique?.key],
    ["After", links(shown.after)], ["Batch", shown.batch], ["Schedule", shown.schedule], ["Limits", limits.join(", ")], ["Unreadable", shown.unreadable],
  ]), Object.keys(shown.metadata ?? {}).length ? [h("h3", {}, "Metadata"), sheet(Object.entries(shown.metadata))] : null];
}

/** Attempts on one line of time, with the waits between them. */
function chartOf(shown) {
  const attempts = shown.history.filter((entry) => entry.event === "ended" && entry.started_at && entry.metering);
  if (attempts.length === 0 || !shown.submitted_at) return null;
  const rows = attempts.slice(-20).map((entry) => ({
    label: `Attempt ${entry.attempt}`, from: entry.started_at, to: entry.started_at + entry.metering.wall_us / 1000,
    tone: entry.outcome === "done" ? "good" : entry.next === "retry" ? "warn" : "bad", said: `${entry.outcome.replaceAll("_", " ")} after ${micros(entry.metering.wall_us)}`,
  }));
  const first = attempts.length > 20 ? rows[0].from : Math.min(shown.submitted_at, rows[0].from);
  return spans(rows, first, Math.max(...rows.map((row) => row.to), first + 1), (ms) => (ms === 0 ? "0" : `+${span(ms)}`));
}

function timeline(shown) {
  if (shown.history.length === 0) return nothing("Nothing yet: no attempt has ended.");
  return h("ol", { class: "timeline" }, shown.history.map((entry) => {
    if (entry.event !== "ended") return h("li", { class: entry.event }, h("b", {}, entry.event.replaceAll("_", " ")), " ", other(entry));
    return h("li", { class: entry.next }, attempt(entry));
  }));
}

const other = (entry) => h("span", { class: "soft" }, [time(entry.at), entry.host, entry.parent, entry.state, entry.replaced_by && `replaced by ${entry.replaced_by}`].filter(Boolean).join(", "));

function attempt(entry) {
  const used = entry.metering;
  const figure = (name, said) => h("span", { class: "figure" }, h("span", { class: "soft" }, name), " ", said);
  return [
    h("div", {}, h("b", {}, `Attempt ${entry.attempt} `), badge(entry.outcome === "done" ? "completed" : entry.outcome), h("span", { class: "soft" }, ` then ${entry.next.replaceAll("_", " ")} · `), moment(entry.started_at)),
    h("div", { class: "figures" }, figure("took", micros(used.wall_us)), figure("CPU", micros(used.cpu_us)), figure("fuel", short(used.fuel)), figure("memory", bytes(used.peak_memory_bytes)),
      used.host_calls ? figure("host calls", `${count(used.host_calls)}, ${bytes(used.bytes_in)} in, ${bytes(used.bytes_out)} out`) : null,
      figure("on", entry.host), entry.plugin ? figure("by", [entry.plugin, " ", h("span", { class: "id", title: entry.digest }, (entry.digest ?? "").slice(0, 12))]) : null),
    entry.failure ? failure(entry.failure) : null,
    entry.logs.length ? logs(entry.logs, used.log_lines_dropped) : null];
}

function failure({ message, details, backtrace }) {
  return h("div", { class: "failure" }, long(message),
    details ? h("details", { open: true }, h("summary", {}, "Details"), long(details)) : null,
    backtrace.length ? h("details", { open: true }, h("summary", {}, `Backtrace, ${backtrace.length} frames`), h("pre", { tabindex: "0" }, backtrace.map((line) => h("div", {}, line)))) : null);
}

/** Lines of a log that are drawn at once. */
const LINES = 500;

function logs(lines, dropped) {
  const draw = (line) => h("div", { class: line.level },
    h("span", { class: "time" }, `${span(line.at_ms)} `), h("b", {}, line.level), ` ${line.message.slice(0, 20_000)} `,
    h("span", { class: "fields" }, line.fields.map(([key, value]) => `${key}=${value}`).join(" ")));
  return h("details", { open: true }, h("summary", {}, `Log, ${count(lines.length)} lines${dropped ? `, ${count(dropped)} dropped` : ""}`),
    h("pre", { class: "log", tabindex: "0" }, lines.slice(0, LINES).map(draw), lines.length > LINES ? h("div", { class: "soft" }, `${count(lines.length - LINES)} more; bulkhead task show has all`) : null));
}
