// The request of a panel as others would make it: by curl, and in Python.

import { settings } from "./settings.js";

const PICTURE = "DATA_URL_OF_THE_PICTURE";
const kind = (url) => /^data:([^;,]+)/.exec(url)?.[1] ?? "image/png";
const quoted = (name) => `'${name.replaceAll("'", `'\\''`)}'`;

/** `body` as JSON in which `url` stands for the picture. */
function json(body, url, space) {
  return JSON.stringify(body, (_, value) => (value === url ? PICTURE : value), space);
}

/** A shell command that sends `body` to `path`, with the file `name` for the picture at `url`. */
export function curl(path, body, { url, name }) {
  const key = settings().key ? ` \\\n  -H "Authorization: Bearer $BLIP2_KEY"` : "";
  const text = json(body, url).replaceAll("'", `'\\''`).replaceAll(PICTURE, () => `data:${kind(url)};base64,'"$(base64 < ${quoted(name)} | tr -d '\\n')"'`);
  const silent = body.stream ? " --no-buffer" : "";
  return `printf '%s' '${text}' |\ncurl${silent} ${location.origin}${path} \\\n  -H 'Content-Type: application/json'${key} --data-binary @-`;
}

/** A Python program that does the same: with the client of OpenAI where the server speaks as theirs does, else with what Python has. */
export function python(path, body, { url, name }) {
  const { key } = settings();
  const load = [
    "import base64",
    "",
    `with open(${JSON.stringify(name)}, "rb") as file:`,
    `    picture = "data:${kind(url)};base64," + base64.b64encode(file.read()).decode()`,
  ];
  const literal = (value) => json(value, url, 4).replaceAll(`"${PICTURE}"`, "picture").replace(/\b(true|false|null)\b(?=,?$)/gm, (word) => ({ true: "True", false: "False", null: "None" })[word]);
  if (path.endsWith("/chat/completions")) {
    const { messages, model, ...rest } = body;
    const options = Object.entries(rest).map(([option, value]) => `    ${option}=${literal(value)},`);
    return [
      ...load.slice(0, 1),
      "import os",
      "from openai import OpenAI",
      ...load.slice(1),
      "",
      `client = OpenAI(base_url="${location.origin}/v1", api_key=${key ? 'os.environ["BLIP2_KEY"]' : '"none"'})`,
      "answer = client.chat.completions.create(",
      `    model=${JSON.stringify(model)},`,
      `    messages=${literal(messages).replaceAll("\n", "\n    ")},`,
      ...options,
      ")",
      ...(body.stream
        ? ["for piece in answer:", "    if piece.choices:", '        print(piece.choices[0].delta.content or "", end="", flush=True)', "print()"]
        : ["print(answer.choices[0].message.content)"]),
      "",
    ].filter((line) => key || line !== "import os").join("\n");
  }
  return [
    ...load.slice(0, 1),
    "import json",
    ...(key ? ["import os"] : []),
    "import urllib.request",
    ...load.slice(1),
    "",
    "request = urllib.request.Request(",
    `    "${location.origin}${path}",`,
    `    data=json.dumps(${literal(body).replaceAll("\n", "\n    ")}).encode(),`,
    `    headers={"Content-Type": "application/json"${key ? ', "Authorization": "Bearer " + os.environ["BLIP2_KEY"]' : ""}},`,
    ")",
    "print(json.load(urllib.request.urlopen(request)))",
    "",
  ].join("\n");
}
