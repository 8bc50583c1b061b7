// Submit a task through a client that is typed by the OpenAPI document, and wait for it.
//
//   bulkhead openapi > openapi.json
//   npm install && npx openapi-typescript openapi.json -o bulkhead.d.ts && npx tsc
//   node example.js http://127.0.0.1:8080

import createClient from "openapi-fetch";
import type { components, paths } from "./bulkhead.d.ts";

const token = process.env.BULKHEAD_TOKEN;
const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
const api = createClient<paths>({ baseUrl: process.argv[2], headers });

const sent = await api.POST("/v1/tasks", {
  body: { type: "echo", payload: { hello: ["from", "typescript"] } },
});
if (!sent.data) throw new Error(JSON.stringify(sent.error));
const path = { queue: sent.data.queue, id: sent.data.id };

let task: components["schemas"]["Task"] | undefined;
while (task?.state !== "completed") {
  const waited = await api.GET("/v1/queues/{queue}/tasks/{id}/wait", {
    params: { path, query: { timeout: "30s" } },
  });
  if (!waited.data) throw new Error(JSON.stringify(waited.error));
  task = waited.data;
}
console.log(`${task.state}: ${JSON.stringify(task.output?.json)}`);
