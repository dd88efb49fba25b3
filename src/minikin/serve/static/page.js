// A chat with the members of a family, over the same API that programs use.

import { events, health, request } from "./asking.js";
import { $, made, tell } from "./show.js";

const ALL = "*";
const KEPT = ["member", "task", "temperature", "top_p", "max_tokens", "system"];
const PROMPTS = { chat: "", de: "Translate to German: ", en: "Translate to English: ", summary: "Summarize: " };
const REFRESH = 5000; // milliseconds

let members = [];
let known = false; // whether they are those of the server as it is now
let finding = false; // whether they are being asked for
let turns = []; // {content, answers} of the conversation: a question, and what each member that was asked said to it
let atEnd = true; // whether the end of what was said was in sight when it was last scrolled
let stopping = null; // an AbortController while answers are written

// settings are kept in this browser
function keep(name) {
  localStorage.setItem(`minikin.${name}`, $(name).value);
}

function recall(name) {
  const value = localStorage.getItem(`minikin.${name}`);
  if (value === null) return;
  if ($(name).tagName !== "SELECT" || [...$(name).options].some((option) => option.value === value)) $(name).value = value;
}

function showMembers(found) {
  if (found.join() === members.join()) return;
  members = found;
  $("member").replaceChildren(...members.map((name) => new Option(name, name)));
  if (members.length > 1) $("member").add(new Option("all at once", ALL));
  recall("member");
}

async function findMembers() {
  finding = true;
  try {
    const { reply } = await request("v1/models");
    showMembers((await reply.json()).data.map((each) => each.id));
    known = true;
    tell("members");
  } catch (error) {
    tell("members", error.message);
  }
  finding = false;
}

function showHealth(told) {
  const running = Object.values(told.members).reduce((sum, each) => sum + each.running, 0);
  const engines = [...new Set(Object.values(told.members).map((each) => each.engine))].join(", ");
  const memory = (told.resident_bytes / 1e6).toFixed(0);
  $("state").textContent = `${engines} · ${memory} MB of memory · ${running || "none"} being answered`;
  tell("health", told.status === "ok" ? "" : "A member of this server has failed; the server must be started again.");
}

async function showState() {
  try {
    showHealth(await health(2 * REFRESH));
    if (!known && !finding) findMembers(); // not waited for, as it may wait for a key
  } catch (error) {
    known = false; // it may come back as another one
    $("state").textContent = "";
    tell("health", error.message);
    tell("members");
  }
}

async function watchState() {
  for (;;) {
    await showState();
    await new Promise((resolve) => setTimeout(resolve, REFRESH));
  }
}

// the conversation as this member knows it: where it was not asked, the first that was speaks for it
function before(name) {
  return turns.flatMap(({ content, answers }) => [
    { role: "user", content },
    { role: "assistant", content: answers.get(name) ?? [...answers.values()][0] },
  ]);
}

function question(name, task, text) {
  const system = $("system").value.trim();
  const first = system ? [{ role: "system", content: system }] : [];
  return [...first, ...(task === "chat" ? before(name) : []), { role: "user", content: PROMPTS[task] + text }];
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

function isAtEnd() {
  return $("talk").scrollHeight - $("talk").scrollTop - $("talk").clientHeight < 80;
}

function toTheEnd() {
  $("talk").scrollTop = $("talk").scrollHeight;
}

// a change of what is shown; whoever reads at its end stays there
function grow(change) {
  const follow = isAtEnd();
  change();
  if (follow) toTheEnd();
}

// asks one member, and gives each piece of its answer to `say`; returns how it went
async function stream(name, messages, say, signal) {
  const body = JSON.stringify(asking(name, messages));
  const { reply, begun } = await request("v1/chat/completions", { method: "POST", body, signal });
  let tokens = 0;
  let cut = "";
  for await (const event of events(reply.body)) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice?.delta.content) say(choice.delta.content);
    if (choice?.finish_reason === "length") cut = " (cut off)";
    if (event.usage) tokens = event.usage.completion_tokens;
  }
  const seconds = (performance.now() - begun) / 1000;
  return `${tokens} tokens${cut} in ${seconds.toFixed(2)} s · ${(tokens / seconds).toFixed(0)} tokens/s`;
}

// an answer as it is written; returns [who, what], where nothing was said if it failed
async function answer(name, messages, into, signal) {
  const said = made("div", "said");
  const told = made("div", "told", name);
  const box = made("div", "answer busy");
  box.append(said, told);
  into.append(box);
  let text = "";
  const say = (piece) => grow(() => { said.textContent = text += piece; });
  try {
    const how = await stream(name, messages, say, signal);
    grow(() => { told.textContent = `${name} · ${how}`; });
  } catch (error) {
    if (error.name === "AbortError") told.textContent = `${name} · stopped`;
    else {
      box.classList.add("wrong");
      grow(() => { said.textContent = text ? `${text}\n${error.message}` : error.message; });
      text = "";
    }
  }
  box.classList.remove("busy");
  return [name, text];
}

function writing(controller) {
  const left = [document.body, $("send"), $("stop")].includes(document.activeElement); // not where somebody is at work
  stopping = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
  $("talk").setAttribute("aria-busy", Boolean(controller)); // or every word would be read out by itself
  if (left) $("text").focus();
}

async function ask(text) {
  $("talk").querySelector(".hint")?.remove();
  const turn = made("section", "turn");
  const into = made("div", "answers");
  const task = $("task").value;
  turn.append(made("div", "asked", PROMPTS[task] + text), into);
  $("talk").append(turn);
  const names = $("member").value === ALL ? members : [$("member").value];
  const conversation = turns; // "New" may begin another meanwhile
  writing(new AbortController());
  const answers = names.map((name) => answer(name, question(name, task, text), into, stopping.signal));
  toTheEnd();
  const said = (await Promise.all(answers)).filter(([, what]) => what);
  writing(null);
  // what was not answered was not said, or it would stand in the way of all that follows
  if (task === "chat" && said.length) conversation.push({ content: text, answers: new Map(said) });
  showState();
}

function forget() {
  stopping?.abort();
  turns = [];
  $("talk").replaceChildren(made("p", "hint", "Forgotten. Ask something."));
  $("text").focus();
}

function leaveSettings(event) {
  if (!$("settings").contains(event.target)) $("settings").open = false;
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
$("settings").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("settings").open) return;
  event.stopPropagation(); // the answer goes on
  $("settings").open = false;
  $("settings").querySelector("summary").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopping?.abort();
});
$("talk").addEventListener("scroll", () => { atEnd = isAtEnd(); });
new ResizeObserver(() => { if (atEnd) toTheEnd(); }).observe($("talk")); // a problem or a keyboard may take of its place
document.addEventListener("click", leaveSettings);
document.addEventListener("focusin", leaveSettings);
$("stop").addEventListener("click", () => stopping?.abort());
$("reset").addEventListener("click", forget);
for (const name of KEPT) $(name).addEventListener("change", () => keep(name));
KEPT.forEach(recall); // but for the member, until members are known
watchState();
