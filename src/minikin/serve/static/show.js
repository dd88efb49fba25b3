// The page's elements, and the one place where its problems stand. Text is only ever set as text.

export const $ = (id) => document.getElementById(id);

export function made(kind, name, text) {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

const problems = new Map(); // by whose they are

// a problem of somebody's, or that it is over; what stands there already is not set again, or it would be read out again
export function tell(whose, problem = "") {
  problems.set(whose, problem);
  const text = [...problems.values()].filter(Boolean).join("\n");
  if ($("problem").textContent !== text) $("problem").textContent = text;
}
