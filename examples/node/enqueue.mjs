// Submit one task to Bulkhead from Node and wait for its result.

import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { decodeMulti, encode } from "@msgpack/msgpack";
import { RESP_TYPES, createClient } from "@redis/client";

// The files that make the submit script, in order.
const LIBRARY = ["records", "limits", "ends", "store"].map((part) => `library/${part}`);
const PARTS = ["prelude", ...LIBRARY, "submit"];

/** Submits to one queue of one namespace. */
class Producer {
  constructor(client, script, queue = "default", namespace = "bulkhead") {
    this.client = client;
    this.script = script;
    this.sha1 = createHash("sha1").update(script).digest("hex");
    this.queue = queue;
    this.namespace = namespace;
    this.prefix = `{${namespace}:${queue}}`;
  }

  /** Store a task; its id. */
  async submit(type, data, { contentType = "text/plain", tenant = "default", priority = 50 } = {}) {
    const id = randomUUID();
    const head = encode([1, type, tenant, priority]);
    const envelope = encode([Date.now(), contentType, data, [], null, null, null]);
    const record = Buffer.concat([head, envelope]);
    await this.client.sAdd(`${this.namespace}:queues`, this.queue);
    const call = [id, record, type, tenant, String(priority), "0"];
    const [answer] = await this.call(call);
    // 0: known. The id is fresh, so an earlier try of this call has stored it.
    if (answer !== 1 && answer !== 0) throw new Error(`not accepted: ${answer}`);
    return id;
  }

  /** EVALSHA, and the whole script where the server does not know it yet. */
  async call(args) {
    try {
      return await this.client.sendCommand(["EVALSHA", this.sha1, "1", this.prefix, ...args]);
    } catch (error) {
      if (!error.message.startsWith("NOSCRIPT")) throw error;
      return this.client.sendCommand(["EVAL", this.script, "1", this.prefix, ...args]);
    }
  }

  /** The task's last entry once it has ended, or undefined. */
  async wait(id, timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    const heard = new EventTarget();
    const subscriber = await this.client.duplicate().connect();
    try {
      // Listen first, then ask to be told, then look: no end is missed.
      await subscriber.subscribe(`${this.prefix}:done`, (ended) => {
        if (ended === id) heard.dispatchEvent(new Event("end"));
      });
      await this.client.sAdd(`${this.prefix}:waiters`, id);
      for (;;) {
        const signal = AbortSignal.timeout(Math.max(1, Math.min(deadline - Date.now(), 5000)));
        const next = once(heard, "end", { signal }).catch(() => {});
        const entry = await this.lastEntry(id);
        if (hasEnded(entry)) return entry;
        if (Date.now() >= deadline) return undefined;
        await next;
      }
    } finally {
      await this.client.sRem(`${this.prefix}:waiters`, id);
      subscriber.destroy();
    }
  }

  /** What happened to the task last: an object with one key, or undefined. */
  async lastEntry(id) {
    const bytes = this.client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const record = await bytes.get(`${this.prefix}:task:${id}`);
    return [...decodeMulti(record ?? new Uint8Array())].slice(2).at(-1);
  }
}

/** E: an attempt ended; C: cancelled; X: expired; D: a parent failed. */
function hasEnded(entry) {
  if (!entry) return false;
  if (entry.E) return entry.E[0] !== "r";
  return Boolean(entry.C ?? entry.X ?? entry.D);
}

/** The handler's output, or an error that says why there is none. */
function outputOf(entry) {
  if (!entry.E) throw new Error(`the task ended without an attempt: ${JSON.stringify(entry)}`);
  const outcome = entry.E[1][7];
  if (!outcome.Done) throw new Error(`the task failed: ${outcome.Failed[1]}`);
  return outcome.Done[1];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    type: { type: "string" },
    redis: { type: "string", default: "redis://127.0.0.1:6379" },
    queue: { type: "string", default: "default" },
    scripts: {
      type: "string",
      default: new URL("../../host/queue/src/redis/scripts", import.meta.url).pathname,
    },
    timeout: { type: "string", default: "30" },
  },
});
if (!values.type || positionals.length !== 1) {
  console.error("usage: enqueue.mjs --type TYPE [--redis URL] [--queue NAME] TEXT");
  process.exit(2);
}
const parts = PARTS.map((part) => readFile(`${values.scripts}/${part}.lua`, "utf8"));
const script = (await Promise.all(parts)).join("\n");
const client = createClient({ url: values.redis });
client.on("error", (error) => console.error(error.message));
await client.connect();
const producer = new Producer(client, script, values.queue);
const id = await producer.submit(values.type, Buffer.from(positionals[0]));
console.error(`submitted ${id}`);
const entry = await producer.wait(id, Number(values.timeout) * 1000);
client.destroy();
if (!entry) {
  console.error(`${id} has not ended within ${values.timeout} s`);
  process.exit(1);
}
console.log(Buffer.from(outputOf(entry)).toString());
