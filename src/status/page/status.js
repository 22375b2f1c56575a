"use strict";

const EVERY = 4000;
const PATIENCE = 10000;

const find = (id) => document.getElementById(id);
const root = document.documentElement;
root.classList.add("script");

let paused = false;
let waiting = null;

/** The page as it would be now; without the configuration, unless that is asked for. */
function fetched(whole) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", whole ? "status" : "status?live");
    request.responseType = "document";
    request.timeout = PATIENCE;
    request.onload = () => {
      if (request.status === 200 && request.responseXML) done(request.responseXML);
      else failed(new Error(`answered with ${request.status}`));
    };
    request.onerror = () => failed(new Error("no answer"));
    request.ontimeout = () => failed(new Error("no answer in time"));
    request.send();
  });
}

/** Puts what has changed in place of the old; what has the focus is left alone until it loses it. */
function take(page) {
  document.title = page.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    if (!now || now.isEqualNode(old) || old.contains(document.activeElement)) continue;
    old.className = now.className;
    old.replaceChildren(...now.childNodes);
  }
}

async function refresh() {
  clearTimeout(waiting);
  try {
    let page = await fetched(false);
    const known = find("configuration").dataset.taken;
    if (page.getElementById("configuration").dataset.taken !== known) {
      page = await fetched(true);
      const now = page.getElementById("configuration");
      find("configuration").dataset.taken = now.dataset.taken;
      find("configuration").replaceChildren(...now.childNodes);
    }
    if (!paused) take(page);
    find("lost").textContent = "";
    root.classList.remove("lost");
  } catch (fault) {
    const since = new Date().toISOString().slice(11, 19);
    if (!root.classList.contains("lost")) {
      find("lost").textContent = `The gateway gives no status since ${since}: ${fault.message}`;
    }
    root.classList.add("lost");
  }
  wait();
}

function wait() {
  clearTimeout(waiting);
  if (!paused && !document.hidden) waiting = setTimeout(refresh, EVERY);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(waiting);
  else if (!paused) refresh();
});

find("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  root.classList.toggle("paused", paused);
  if (paused) clearTimeout(waiting);
  else refresh();
});

function element(name, text, ...classes) {
  const made = document.createElement(name);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
}

/** What the form asks, or an error for people. */
function question(form) {
  const value = (name) => form.elements[name].value.trim();
  const asked = { method: value("method"), path: value("path") };
  if (!asked.path) throw new Error("Path and query: write what would be asked for.");
  if (value("host")) asked.host = value("host");
  if (value("as")) {
    asked.as = value("as");
    try {
      asked.claims = value("claims") ? JSON.parse(value("claims")) : {};
    } catch {
      throw new Error("Claims: this is no JSON.");
    }
    if (asked.claims === null || typeof asked.claims !== "object" || Array.isArray(asked.claims)) {
      throw new Error("Claims: this is no JSON object.");
    }
  } else if (value("claims")) {
    throw new Error("Claims: choose what they are of under Caller.");
  }
  const lines = value("headers").split("\n").map((line) => line.trim()).filter(Boolean);
  if (lines.length) asked.headers = lines;
  if (form.elements.body.value) asked.body = form.elements.body.value;
  return asked;
}

const MARKS = {
  pass: "✓", answer: "=", login: "→", would_refuse: "!", refuse: "✗", skip: "·",
};

function verdict(found) {
  const words = [found.decision];
  if (found.decision === "forward") {
    words[0] = `forward to ${found.upstream}`;
    words.push(`credential ${found.credential}`);
    if (found.organisation) words.push(`organisation ${found.organisation}`);
  } else {
    if (found.decision === "own") words.push(found.route);
    if (found.status !== null) words.push(String(found.status));
    if (found.reason) words.push(found.reason);
  }
  if (found.would_refuse) words.push(`on trial: without it, ${found.would_refuse}`);
  return words.filter(Boolean).join(" · ");
}

function shown(found) {
  const table = element("table", "", "steps");
  table.append(element("caption", "Steps, in order", "unseen"));
  const head = table.createTHead().insertRow();
  for (const name of ["Step", "Verdict", "What it saw"]) {
    const cell = element("th", name);
    cell.scope = "col";
    head.append(cell);
  }
  const rows = table.createTBody();
  for (const step of found.steps) {
    const row = rows.insertRow();
    row.className = step.verdict;
    const name = element("th", step.step.replaceAll("_", " "));
    name.scope = "row";
    const how = element("td", "", "verdict");
    const mark = element("span", MARKS[step.verdict] ?? "", "sign");
    mark.setAttribute("aria-hidden", "true");
    how.append(mark, step.verdict.replaceAll("_", " "));
    const seen = element("td", "");
    for (const piece of step.detail.split("; ").filter(Boolean)) seen.append(element("p", piece));
    row.append(name, how, seen);
  }
  return [element("p", verdict(found), "decision", found.decision), table];
}

async function ask(form) {
  const out = find("explanation");
  let asked;
  try {
    asked = question(form);
  } catch (fault) {
    out.replaceChildren(element("p", fault.message, "fault"));
    return;
  }
  out.replaceChildren(element("p", "…"));
  try {
    const response = await fetch("explain", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(asked),
    });
    const found = await response.json();
    out.replaceChildren(...(response.ok ? shown(found) : [element("p", found.error, "fault")]));
  } catch (fault) {
    out.replaceChildren(element("p", `No answer: ${fault.message}`, "fault"));
  }
}

find("question").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(event.target);
});
find("question").addEventListener("reset", () => find("explanation").replaceChildren());

// A refusal fills in the form: what is known of the request, and of whoever sent it.
find("refusal-rows").addEventListener("click", (event) => {
  const button = event.target.closest("[data-question]");
  if (!button) return;
  const form = find("question");
  form.reset();
  for (const [name, value] of Object.entries(JSON.parse(button.dataset.question))) {
    form.elements[name].value = value;
  }
  form.scrollIntoView({ block: "start" });
  form.elements.path.focus({ preventScroll: true });
  ask(form);
});

wait();
