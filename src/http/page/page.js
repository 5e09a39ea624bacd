// The page: loads what is there, then follows the server's events.

import { charts } from "./charts.js";
import "./deliveries.js";
import { fileIntake } from "./files.js";
import { job } from "./job.js";
import { isOver, jobList, nameOf } from "./jobs.js";
import { choose, language } from "./locale.js";
import { showQueues } from "./queues.js";
import * as route from "./route.js";
import "./pipelines.js";
import "./schedules.js";
import "./search.js";
import { ask, listen, onRefused, setToken, token } from "./server.js";
import "./tune.js";
import { refreshTimes, say, t, translate } from "./words.js";
import "./workers.js";

/// Rows of ended jobs.
const RECENT = 40;
/// Between two readings of the lists, however much happens; in milliseconds.
const CALM = 300;

const at = (id) => document.getElementById(id);
const tools = { failed, changed: read, removed: read, job };
const underWay = jobList(at("under-way"), tools);
const recent = jobList(at("recent"), tools);
const files = fileIntake(tools);
const figures = charts(failed);
let ended = null;

let noticeTimer = 0;

function notice(text, seconds) {
  clearTimeout(noticeTimer);
  at("notice").hidden = !text;
  say(at("notice"), text);
  if (seconds) noticeTimer = setTimeout(() => notice(""), seconds * 1000);
}

function failed(error) {
  notice(error.message, 8);
}

function announce(job) {
  const words = { succeeded: t("{name} is converted."), failed: t("{name} could not be converted."), cancelled: t("{name} was cancelled.") };
  say(at("said"), words[job.state].replace("{name}", nameOf(job)));
}

let reading = false;
let again = false;
let timer = 0;

/// Reads the lists anew, soon; once for all that happens until then.
function read() {
  again = true;
  if (reading || timer) return;
  timer = setTimeout(readNow, CALM);
}

async function readNow() {
  timer = 0;
  reading = true;
  again = false;
  try {
    const search = new URLSearchParams({ limit: String(RECENT) });
    if (at("search").value.trim()) search.set("text", at("search").value.trim());
    if (at("state").value) search.set("state", at("state").value);
    const [running, queued, page] = await Promise.all([
      ask("GET", "/v1/jobs?state=running&limit=50"), ask("GET", "/v1/jobs?state=queued&limit=25"), ask("GET", `/v1/jobs?${search}`),
    ]);
    show(running.jobs, queued.jobs, page.jobs.filter(isOver), Boolean(running.cursor || queued.cursor));
  } catch (error) {
    if (error.document?.status) failed(error);
  }
  reading = false;
  if (again) read();
}

function show(running, queued, over, more) {
  const line = [...running, ...queued.reverse()];
  underWay.show(line);
  recent.show(over);
  [...line, ...over].forEach(files.job);
  at("under-way-empty").hidden = line.length > 0;
  say(at("under-way-count"), line.length ? `${line.length}${more ? "+" : ""}` : "");
  at("recent-empty").hidden = over.length > 0;
  const narrowed = at("search").value.trim() || at("state").value;
  say(at("recent-empty"), narrowed ? t("No ended job is like that.") : t("No job has ended yet. Finished files stay here to be downloaded."));
  const known = new Set(over.map((job) => job.id));
  if (ended) over.filter((job) => !ended.has(job.id)).slice(0, 1).forEach(announce);
  ended = new Set([...(ended || []), ...known]);
}

function link(state, text) {
  at("link").dataset.state = state;
  say(at("link-text"), text);
}

/// Shows what the token is good for, and nothing else: the style sheet hides what needs more, also what is made later.
async function fit() {
  const { scopes } = await ask("GET", "/v1/self");
  document.body.dataset.scopes = scopes.join(" ");
  if (scopes.includes("read")) figures.read();
}

function follow() {
  return listen({
    up() {
      link("up", t("Live"));
      notice("");
      readNow();
      fit().catch(failed);
    },
    down(wait) {
      link("down", t("No connection"));
      notice(wait >= 2000 ? t("The server does not answer. Trying again in {n} s.", { n: Math.round(wait / 1000) }) : t("The server does not answer. Trying again."));
    },
    event(kind, data) {
      route.event(kind, data);
      if (kind === "progress") {
        underWay.progress(data);
        files.progress(data);
      } else if (kind === "queues") {
        showQueues(data, failed);
      } else {
        read();
      }
    },
  });
}

let restart = null;

onRefused(() => {
  at("access-wrong").hidden = !token();
  setToken(null);
  if (!at("access").open) at("access").showModal();
  link("down", t("Token needed"));
});

at("access-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").value.trim());
  at("token").value = "";
  at("access").close();
  restart();
});

let typing = 0;
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(read, 150);
});
at("state").addEventListener("change", read);
setInterval(refreshTimes, 10000);
translate(document);
at("queues-title").closest("section").after(figures.element);
at("language").value = language;
at("language").addEventListener("change", () => choose(at("language").value));
restart = follow();
route.start(tools);
