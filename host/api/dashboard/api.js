// The API: requests with the token of this tab, problems as errors, streams.

const TOKEN = "bulkhead-token";

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** A problem that the API answered. */
export class Problem extends Error {
  constructor(document, status) {
    super(document?.detail ?? `the host answered ${status}`);
    this.status = status;
  }
}

function headers(more = {}) {
  const known = token.get();
  return known ? { authorization: `Bearer ${known}`, ...more } : more;
}

async function send(method, path, body) {
  const json = body !== undefined && !(body instanceof FormData);
  const options = { method, headers: headers(json ? { "content-type": "application/json" } : {}) };
  if (body !== undefined) options.body = json ? JSON.stringify(body) : body;
  let answer;
  try {
    answer = await fetch(`../v1${path}`, { ...options, signal: AbortSignal.timeout(body instanceof FormData ? 180_000 : 30_000) });
  } catch {
    throw new Problem({ detail: "the host does not answer" }, 0);
  }
  if (!answer.ok) {
    const document = await answer.json().catch(() => null);
    if (answer.status === 401) dispatchEvent(new Event("unauthorized"));
    throw new Problem(document, answer.status);
  }
  return answer;
}

/** Text from beside the API. */
export async function text(path) {
  const answer = await fetch(path, { headers: headers() });
  if (!answer.ok) throw new Problem(null, answer.status);
  return answer.text();
}

export const get = async (path) => (await send("GET", path)).json();
export const post = async (path, body) => {
  const answer = await send("POST", path, body);
  return answer.status === 204 ? null : answer.json();
};
/** Send a form with files. */
export const upload = async (path, form) => (await send("POST", path, form)).json();
export const put = async (path, body) => (await send("PUT", path, body)).json();
export const remove = (path) => send("DELETE", path);

/** Bytes, to be saved as a file. */
export async function download(path, name) {
  const answer = await send("GET", path);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The events of a stream, for as long as `signal` lets; it is opened again when it breaks. */
export async function follow(path, { signal, onevent, onstate }) {
  let last = null;
  let pause = 500;
  while (!signal.aborted) {
    const attempt = new AbortController();
    let patience;
    // A host that lives says at least every 15 seconds that it does.
    const hear = () => { clearTimeout(patience); patience = setTimeout(() => attempt.abort(), 40_000); };
    try {
      hear();
      const more = last ? { "last-event-id": last } : {};
      const answer = await fetch(`../v1${path}`, { headers: headers(more), signal: AbortSignal.any([signal, attempt.signal]) });
      if (!answer.ok) throw new Problem(await answer.json().catch(() => null), answer.status);
      onstate?.(true);
      pause = 500;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        hear();
        text += value;
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
          const message = text.slice(0, end);
          text = text.slice(end + 2);
          const field = (name) => message.split("\n").find((line) => line.startsWith(name))?.slice(name.length);
          const data = field("data: ");
          last = field("id: ") ?? last;
          if (data) onevent(JSON.parse(data));
        }
      }
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status === 401) dispatchEvent(new Event("unauthorized"));
    } finally {
      clearTimeout(patience);
    }
    onstate?.(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 10_000);
  }
}
