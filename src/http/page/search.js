// Every job, searched: by words, state, queue, format and time; and what is done to many at once.

import { isOver, jobList } from "./jobs.js";
import { inOrder } from "./queues.js";
import { remember, view } from "./route.js";
import { ask } from "./server.js";
import { STATES, confirmed, element, say, t } from "./words.js";

const PAGE = 50;
/// Jobs that one press of a button goes through at most.
const MANY = 1000;
/// What only links narrow by.
const GIVEN = ["pipeline", "step"];
const FIELDS = ["text", "state", "queue", "format", "since", "until"];

view("jobs", (root, { parts, query }, tools) => (parts.length ? tools.job(root, parts[0], tools) : search(root, query, tools)));

function search(root, query, tools) {
  const text = element("input", { type: "search", placeholder: t("Names, ids, errors, tags"), "aria-label": t("Search jobs"), spellcheck: "false", autocomplete: "off" });
  const state = element("select", { "aria-label": t("State") }, element("option", { value: "" }, t("Every state")), ...Object.entries(STATES).map(([value, name]) => element("option", { value }, name)));
  const queue = element("select", { "aria-label": t("Queue") }, element("option", { value: "" }, t("Every queue")));
  const format = element("input", { type: "text", placeholder: t("Format"), "aria-label": t("Format of the input"), size: "7", spellcheck: "false", autocomplete: "off" });
  const since = element("input", { type: "datetime-local", "aria-label": t("Submitted since") });
  const until = element("input", { type: "datetime-local", "aria-label": t("Submitted until") });
  const controls = { text, state, queue, format, since, until };
  const rows = element("ul", { class: "jobs" });
  const empty = element("p", { class: "empty", hidden: true }, t("No job is like that."));
  const more = element("button", { type: "button", hidden: true }, t("Show more"));
  const count = element("span", { class: "bulk-count" });
  const all = element("input", { type: "checkbox", "aria-label": t("Pick all shown") });
  const picked = new Map();
  const bulk = element("div", { class: "bulk" }, element("label", {}, all, count),
    button(t("Cancel"), (job) => !isOver(job), (job) => ask("POST", `/v1/jobs/${job.id}/cancel`)),
    button(t("Retry"), (job) => isOver(job) && (job.state !== "succeeded" || job.partial), (job) => ask("POST", `/v1/jobs/${job.id}/retry`)),
    button(t("Remove"), isOver, (job) => ask("DELETE", `/v1/jobs/${job.id}`), true));
  let shown = [];
  let cursor = null;
  let turn = 0;

  const list = jobList(rows, { ...tools, changed: () => read(shown.length), pick, picked: (id) => picked.has(id) });

  function pick(job, on) {
    if (on) picked.set(job.id, job);
    else picked.delete(job.id);
    tell();
  }

  function tell() {
    say(count, picked.size ? t("{n} picked", { n: picked.size }) : t("{n} shown", { n: shown.length }));
    all.checked = shown.length > 0 && shown.every((job) => picked.has(job.id));
    for (const made of bulk.querySelectorAll("button")) made.disabled = ![...picked.values()].some(made.fits);
  }

  function button(text, fits, act, grave = false) {
    const made = element("button", { type: "button", "data-needs": "submit", disabled: true }, text);
    made.fits = fits;
    made.addEventListener("click", async () => {
      const jobs = [...picked.values()].filter(fits).slice(0, MANY);
      if (grave && !(await confirmed(t("Remove {n} jobs with what they made?", { n: jobs.length }), text))) return;
      made.disabled = true;
      const lost = [];
      for (const job of jobs) {
        try {
          await act(job);
          picked.delete(job.id);
        } catch (error) {
          lost.push(error);
        }
      }
      if (lost.length) tools.failed(lost[0]);
      read(shown.length);
    });
    return made;
  }

  function filter() {
    const wanted = new URLSearchParams();
    for (const name of FIELDS) {
      const value = controls[name].value.trim();
      if (value) wanted.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
    }
    for (const name of GIVEN) if (query.get(name)) wanted.set(name, query.get(name));
    return wanted;
  }

  async function read(atLeast = PAGE) {
    const mine = ++turn;
    const found = [];
    let next = null;
    try {
      do {
        const wanted = filter();
        wanted.set("limit", String(PAGE));
        if (next) wanted.set("cursor", next);
        const page = await ask("GET", `/v1/jobs?${wanted}`);
        found.push(...page.jobs);
        next = page.cursor;
      } while (next && found.length < atLeast);
    } catch (error) {
      return tools.failed(error);
    }
    if (mine !== turn) return;
    shown = found;
    cursor = next;
    for (const job of shown) if (picked.has(job.id)) picked.set(job.id, job);
    list.show(shown);
    empty.hidden = shown.length > 0;
    more.hidden = !cursor;
    tell();
  }

  let typing = 0;
  for (const name of FIELDS) {
    const given = query.get(name);
    if (given) controls[name].value = name === "since" || name === "until" ? local(given) : given;
    controls[name].addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        remember(`#/jobs?${filter()}`);
        read();
      }, 150);
    });
  }
  all.addEventListener("change", () => {
    shown.forEach((job) => (all.checked ? picked.set(job.id, job) : picked.delete(job.id)));
    list.show(shown);
    tell();
  });
  more.addEventListener("click", () => read(shown.length + PAGE));
  ask("GET", "/v1/queues").then((queues) => {
    queue.append(...inOrder(queues).map((one) => element("option", { value: one.name, selected: one.name === query.get("queue") }, one.name)));
    read();
  }, tools.failed);
  root.append(element("h2", {}, t("Jobs")), element("div", { class: "filters", role: "search" }, text, state, queue, format,
    element("label", {}, t("since"), since), element("label", {}, t("until"), until)), bulk, rows, empty, more);
  let calm = 0;
  return {
    event(kind, data) {
      if (kind === "progress") return list.progress(data);
      if (kind === "queues" || calm) return;
      calm = setTimeout(() => {
        calm = 0;
        read(shown.length || PAGE);
      }, 500);
    },
    close: () => clearTimeout(calm),
  };
}

/// As the control for local times takes it.
function local(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? "" : new Date(time - time.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
