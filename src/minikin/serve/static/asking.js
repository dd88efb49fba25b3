// Requests to the server, and what it says in return: in full, or event by event.

import { anotherKey, authorization, currentKey } from "./key.js";

const GONE = "The server cannot be reached.";

// what the browser says of a lost connection differs from browser to browser and helps nobody
function unlessStopped(error) {
  return error.name === "AbortError" ? error : new Error(GONE);
}

function stopped(signal) {
  signal?.throwIfAborted();
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

// the reply, and when it was asked for; raises an error in the server's own words
export async function request(path, options = {}) {
  for (;;) {
    const key = currentKey();
    const headers = { "Content-Type": "application/json", ...authorization(key) };
    const begun = performance.now();
    const reply = await fetch(path, { ...options, headers }).catch((error) => { throw unlessStopped(error); });
    if (reply.ok) return { reply, begun };
    if (reply.status !== 401) throw await refusal(reply);
    await Promise.race([anotherKey(key), stopped(options.signal)]);
  }
}

async function refusal(reply) {
  const told = await reply.json().catch(() => null);
  return new Error(told?.error?.message ?? `The server refuses, with status ${reply.status}.`);
}

// how the server fares; where it fares badly, its reply has an error's status and tells as much as any
export async function health(patience) {
  const reply = await fetch("health", { signal: AbortSignal.timeout(patience) }).catch(() => { throw new Error(GONE); });
  const told = await reply.clone().json().catch(() => null);
  if (!told?.members) throw await refusal(reply);
  return told;
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw unlessStopped(error);
  }
}

// the events of a stream, parsed one by one
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { value, done } = await read(reader);
    if (done) return;
    const blocks = (left + value).split("\n\n");
    left = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
