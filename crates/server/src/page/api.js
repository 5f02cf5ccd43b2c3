// What the page asks the server, and what it makes of a refusal.

import { settings } from "./settings.js";

/** What the server's `error` says, with its word for programs as `code`. */
const failure = (error) => Object.assign(new Error(error.message ?? error), { code: error.code });

/** A refusal, with the server's reason where it gave one. */
async function refusal(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return failure(error);
  } catch {
    return new Error(text || `the server answers ${response.status}`);
  }
}

function headers() {
  const key = settings().key;
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
}

async function request(path, body, signal) {
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers: headers(), body: body && JSON.stringify(body), signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("the server cannot be reached: is it still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The JSON that `path` answers with: to `body`, where there is one. */
export async function ask(path, body) {
  return (await request(path, body)).json();
}

/** The next piece of a stream, which only its last word ends. */
async function next(reader) {
  const broken = () => new Error("the answer broke off: the connection ended before it was complete");
  try {
    const { value, done } = await reader.read();
    if (!done) return value;
  } catch (error) {
    throw error.name === "AbortError" ? error : broken();
  }
  throw broken();
}

/**
 * Streams a chat completion: `hear` gets each piece of text as it is written. Gives why it is over as `finish`, and what the filter
 * found as `category`.
 */
export async function stream(path, body, hear, signal) {
  const response = await request(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const ending = {};
  for (let rest = ""; ; ) {
    const events = (rest + (await next(reader))).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data) continue;
      if (data === "[DONE]") {
        // Nothing follows, and a connection that fails now takes nothing away.
        reader.cancel().catch(() => {});
        return ending;
      }
      const { choices, error } = JSON.parse(data);
      if (error) throw failure(error);
      const [{ delta, finish_reason: finish, filtered } = {}] = choices ?? [];
      if (delta?.content) hear(delta.content);
      if (finish) Object.assign(ending, { finish, category: filtered?.category });
    }
  }
}
