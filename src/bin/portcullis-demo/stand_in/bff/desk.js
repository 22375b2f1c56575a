"use strict";

const show = (id, text) => { document.getElementById(id).textContent = text; };
const list = (values) => (values && values.length ? values.join(", ") : "none");

let organisation = null;

async function read(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function introduce() {
  try {
    const session = await read("/.portcullis/session");
    organisation = session.organisation ?? null;
    const known = session.organisations?.find((one) => one.id === organisation);
    show("organisation", known?.name ? `${known.name} (${known.id})` : organisation ?? "none");
    show("permissions", list(session.permissions));
  } catch (fault) {
    show("organisation", `not known: ${fault.message}`);
    show("permissions", "not known");
  }
  try {
    const me = await read("/api/desk/v1/me");
    show("name", me.name ? `${me.name} (${me.sub})` : me.sub);
    show("roles", list(me.roles));
  } catch (fault) {
    show("name", `not known: ${fault.message}`);
    show("roles", "not known");
  }
}

const calls = {
  config: () => fetch("/api/config/v1"),
  list: () => {
    const query = new URLSearchParams({ page: 0, pageSize: 10 });
    if (organisation) query.set("organisationId", organisation);
    return fetch(`/api/credential/v1?${query}`);
  },
  issue: () => fetch("/api/credential/v1", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      credentialSchemaId: crypto.randomUUID(),
      protocol: "OPENID4VCI_FINAL1",
      claimValues: [],
    }),
  }),
};

async function call(name) {
  const answer = document.getElementById("answer");
  show("verdict", "…");
  try {
    const response = await calls[name]();
    const text = await response.text();
    let body = null;
    try { body = JSON.parse(text); } catch { /* shown as it came */ }
    const reason = body?.reason ?? body?.code;
    show("verdict", reason ? `${response.status} · ${reason}` : `${response.status}`);
    answer.hidden = text === "";
    answer.textContent = body ? JSON.stringify(body, null, 2) : text;
  } catch (fault) {
    show("verdict", `no answer: ${fault.message}`);
    answer.hidden = true;
  }
}

for (const button of document.querySelectorAll("[data-call]")) {
  button.addEventListener("click", () => call(button.dataset.call));
}
introduce();
