// What the page asks the server, and what it makes of a refusal.

import { settings } from "./settings.js";

/** A refusal, with the server's reason where it gave one. */
async function refusal(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new Error(error.message ?? error);
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

/** Streams a chat completion: `hear` gets each piece of text as it is written. */
export async function stream(path, body, hear, signal) {
  const response = await request(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data || data === "[DONE]") continue;
      const { choices, error } = JSON.parse(data);
      if (error) throw new Error(error.message ?? error);
      const piece = choices?.[0]?.delta?.content;
      if (piece) hear(piece);
    }
  }
}
