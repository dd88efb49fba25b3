"use strict";
// A chat with the members of a family, over the same API that programs use. Text is only ever set as text.

const $ = (id) => document.getElementById(id);
const ALL = "*";
const KEPT = ["member", "task", "temperature", "top_p", "max_tokens", "system"];
const PROMPTS = { chat: "", de: "Translate to German: ", en: "Translate to English: ", summary: "Summarize: " };
const REFRESH = 5000; // milliseconds

let members = [];
let talk = { turns: [] }; // {role, content} of the conversation, with the answers of the first member that is asked
let stopping = null; // an AbortController while answers are written

function made(kind, name, text) {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

// settings are kept in this browser, the key only as long as its window is open
function keep(name) {
  localStorage.setItem(`minikin.${name}`, $(name).value);
}

function recall() {
  for (const name of KEPT) {
    const value = localStorage.getItem(`minikin.${name}`);
    if (value === null) continue;
    if ($(name).tagName !== "SELECT" || [...$(name).options].some((option) => option.value === value)) $(name).value = value;
  }
}

async function findMembers() {
  const reply = await fetch("v1/models", { headers: headers() });
  if (reply.status === 401) {
    if (!$("settings").open) {
      $("settings").open = true;
      $("key").focus();
    }
    $("state").textContent = "This server wants a key: enter it under Settings.";
    return;
  }
  const told = await reply.json();
  if (!reply.ok) {
    $("state").textContent = told.error.message;
    return;
  }
  members = told.data.map((each) => each.id);
  $("member").replaceChildren(...members.map((name) => new Option(name, name)));
  if (members.length > 1) $("member").add(new Option("all, side by side", ALL));
  recall();
}

async function showState() {
  try {
    if (!members.length) await findMembers(); // a server that was not there, or did not know us, may by now
    if (!members.length) return;
    const told = await (await fetch("health")).json();
    const running = Object.values(told.members).reduce((sum, each) => sum + each.running, 0);
    const engines = [...new Set(Object.values(told.members).map((each) => each.engine))].join(", ");
    const memory = (told.resident_bytes / 1e6).toFixed(0);
    $("state").textContent = `${engines} · ${memory} MB of memory · ${running} being answered`;
  } catch {
    $("state").textContent = "The server cannot be reached.";
  }
}

function question(text) {
  const task = $("task").value;
  const system = $("system").value.trim();
  const before = system ? [{ role: "system", content: system }] : [];
  if (task !== "chat") return [...before, { role: "user", content: PROMPTS[task] + text }];
  return [...before, ...talk.turns, { role: "user", content: text }];
}

function asking(model, messages) {
  const number = (id) => Number($(id).value);
  return {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    temperature: number("temperature"),
    top_p: number("temperature") > 0 ? number("top_p") : 1,
    max_tokens: number("max_tokens"),
  };
}

// the events of a stream, parsed one by one
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (left + value).split("\n\n");
    left = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function near() {
  const talk = $("talk");
  return talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;
}

async function answer(name, messages, into, signal) {
  const said = made("div", "said");
  const told = made("div", "told", name);
  const box = made("div", "answer busy");
  box.append(said, told);
  into.append(box);
  let text = "";
  const begun = performance.now();
  let tokens = 0;
  try {
    const reply = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(asking(name, messages)), signal });
    if (!reply.ok) throw new Error((await reply.json()).error.message);
    for await (const event of events(reply.body)) {
      if (event.error) throw new Error(event.error.message);
      const follow = near();
      const content = event.choices[0]?.delta.content;
      if (content) said.textContent = text += content;
      if (event.usage) tokens = event.usage.completion_tokens;
      if (follow) $("talk").scrollTop = $("talk").scrollHeight;
    }
    const seconds = (performance.now() - begun) / 1000;
    told.textContent = `${name} · ${tokens} tokens in ${seconds.toFixed(2)} s · ${(tokens / seconds).toFixed(0)} tokens/s`;
  } catch (error) {
    if (error.name === "AbortError") told.textContent = `${name} · stopped`;
    else {
      box.classList.add("wrong");
      said.textContent = text ? `${text}\n${error.message}` : error.message;
      text = "";
    }
  }
  box.classList.remove("busy");
  return text;
}

async function ask(text) {
  $("talk").querySelector(".hint")?.remove();
  const turn = made("section", "turn");
  const answers = made("div", "answers");
  turn.append(made("div", "asked", (PROMPTS[$("task").value] + text)), answers);
  $("talk").append(turn);
  $("talk").scrollTop = $("talk").scrollHeight;
  const names = $("member").value === ALL ? members : [$("member").value];
  const goesOn = $("task").value === "chat" ? talk : null; // "New" may begin another meanwhile
  const messages = question(text);
  stopping = new AbortController();
  $("send").hidden = true;
  $("stop").hidden = false;
  const found = await Promise.all(names.map((name) => answer(name, messages, answers, stopping.signal)));
  stopping = null;
  $("send").hidden = false;
  $("stop").hidden = true;
  // what was not answered was not said, or it would stand in the way of all that follows
  if (goesOn && found[0]) goesOn.turns.push({ role: "user", content: text }, { role: "assistant", content: found[0] });
  showState();
  $("text").focus();
}

function forget() {
  stopping?.abort();
  talk = { turns: [] };
  $("talk").replaceChildren(made("p", "hint", "Forgotten. Ask something."));
  $("text").focus();
}

$("fields").addEventListener("submit", (event) => event.preventDefault());
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || stopping || !$("member").value) return;
  $("text").value = "";
  KEPT.forEach(keep);
  ask(text);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopping?.abort();
});
$("stop").addEventListener("click", () => stopping?.abort());
$("reset").addEventListener("click", forget);
for (const name of KEPT) $(name).addEventListener("change", () => keep(name));
$("key").addEventListener("change", () => {
  sessionStorage.setItem("minikin.key", $("key").value);
  members = [];
  showState();
});
$("key").value = sessionStorage.getItem("minikin.key") ?? "";
recall(); // but for the member, until members are known
showState();
setInterval(showState, REFRESH);
