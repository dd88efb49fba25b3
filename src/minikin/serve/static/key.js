// The server's key: asked for once, however many requests are in need of it, and kept as long as this tab is open.

import { $, tell } from "./show.js";

const PLACE = "minikin.key";

let key = sessionStorage.getItem(PLACE) ?? "";
let asking = null; // a promise that is kept when a key is entered
let entered = null; // keeps it

export const currentKey = () => key;

// a header is made of bytes, and the browser takes no letter for one that is more than a byte: so UTF-8, a letter a byte
export function authorization(key) {
  if (!key) return {};
  const bytes = Array.from(new TextEncoder().encode(key), (byte) => String.fromCharCode(byte));
  return { Authorization: `Bearer ${bytes.join("")}` };
}

// waits until there is another key than the one that was refused
export function anotherKey(refused) {
  if (asking) return asking;
  if (key !== refused) return Promise.resolve(); // it was entered while the refusal was on its way
  key = "";
  sessionStorage.removeItem(PLACE);
  tell("key", refused ? "This is not the key of this server." : "This server asks for a key.");
  $("door").hidden = false;
  $("key").value = "";
  $("key").focus();
  asking = new Promise((resolve) => { entered = resolve; });
  return asking;
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  if (!key) return;
  sessionStorage.setItem(PLACE, key);
  tell("key");
  $("door").hidden = true;
  $("text").focus();
  asking = null;
  entered();
});
