// One job: what became of it and why, attempt by attempt, with its files, its log and its settings.

import { actionsOf, downloadLink, isOver, nameOf, progressBar } from "./jobs.js";
import { ask, linkTo } from "./server.js";
import { STATES, between, bytes, element, say, span, t, when } from "./words.js";

/// Between two looks at the log of a running job; in milliseconds.
const LOG_EVERY = 1000;
const CAUSES = {
  succeeded: t("done"), failed: t("failed"), cancelled: t("cancelled"), interrupted: t("given back, as its worker stopped"), worker_lost: t("its worker was lost"),
};
/// What to do about it, beyond the error's own hint.
const RETRYABLE = { never: t("Trying again would end the same."), later: t("It may work when tried again later."), after_fix: t("It can work once the cause is mended.") };

export function job(root, id, tools) {
  const title = element("h2", { class: "job-title" });
  const state = element("span", { class: "state" });
  const actions = element("div", { class: "actions" });
  const bar = progressBar();
  const trouble = element("div", {});
  const facts = element("dl", { class: "facts-grid" });
  const attempts = element("tbody", {});
  const files = element("div", { class: "outputs-grid" });
  const log = element("ol", { class: "log", tabindex: "0", "aria-label": t("Log") });
  const settings = element("pre", { tabindex: "0" });
  const body = element("article", { class: "one-job" },
    element("p", {}, element("a", { href: "#/jobs" }, t("All jobs"))),
    element("header", {}, title, state, actions), bar.element, trouble, facts,
    section(t("Files"), files),
    section(t("Attempts"), element("div", { class: "scroll" }, element("table", {}, head(["#", t("Worker"), t("Began"), t("Took"), t("Processor"), t("Memory"), t("Jail"), t("Ended as")]), attempts))),
    section(t("Log"), log),
    element("details", {}, element("summary", {}, t("Settings")), settings));
  root.append(body);
  const own = { ...tools, changed: read, removed: () => (location.hash = "#/jobs") };
  let last = null;
  let lines = 0;
  let timer = 0;
  let closed = false;
  let seen = "";

  async function read() {
    try {
      show(await ask("GET", `/v1/jobs/${encodeURIComponent(id)}`));
    } catch (error) {
      if (closed) return;
      if (error.document?.status === 404) root.replaceChildren(element("p", { class: "empty" }, t("There is no such job; its record may have been removed.")));
      else tools.failed(error);
    }
  }

  function show(now) {
    if (closed) return;
    last = now;
    const became = JSON.stringify([now.state, now.attempt, now.cancel, now.outputs.map((o) => [o.name, o.state])]);
    bar.update(now.progress);
    bar.element.hidden = now.state !== "running";
    if (became === seen) return;
    seen = became;
    body.dataset.state = now.state;
    say(title, nameOf(now));
    say(state, now.cancel && !isOver(now) ? t("Stopping") : now.partial ? t("Partly done") : STATES[now.state]);
    actions.replaceChildren(...actionsOf(now, own));
    trouble.replaceChildren(...errorOf(now));
    facts.replaceChildren(...factsOf(now).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
    attempts.replaceChildren(...now.attempts.map(attemptRow));
    files.replaceChildren(input(now), ...now.outputs.slice(0, 200).map((output) => outputOf(now, output, own)));
    settings.textContent = JSON.stringify({ outputs: now.outputs.map((o) => ({ name: o.name, to: o.to, preset: o.preset, options: set(o.options) })), context: now.context, metadata: now.metadata }, null, 2);
    readLog();
  }

  async function readLog() {
    clearTimeout(timer);
    try {
      const news = await ask("GET", `/v1/jobs/${encodeURIComponent(id)}/log?from=${lines}`);
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      lines += news.length;
      log.append(...news.map(logLine));
      if (news.length && atEnd) log.scrollTop = log.scrollHeight;
      if (!lines && isOver(last)) log.replaceChildren(element("li", { class: "still" }, t("Nothing was written.")));
    } catch {
      // The job's own reading tells what is wrong.
    }
    if (!closed && last && !isOver(last)) timer = setTimeout(readLog, LOG_EVERY);
  }

  read();
  return {
    event(kind, data) {
      if (kind === "progress" && data.job === id) bar.update(data.progress);
      else if (kind !== "queues" && data.job === id) read();
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function section(title, ...children) {
  return element("section", {}, element("h3", {}, title), ...children);
}

export function head(names) {
  return element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
}

function errorOf(now) {
  const error = now.error;
  if (!error || now.state === "succeeded") return [];
  const detail = error.detail ? [element("details", {}, element("summary", {}, t("What the tools said")), element("pre", { tabindex: "0" }, error.detail))] : [];
  return [element("div", { class: "error-box", role: "note" },
    element("p", { class: "error-words" }, error.message), error.hint ? element("p", {}, error.hint) : null,
    element("p", { class: "dim" }, RETRYABLE[error.retryable] || "", " ", element("code", {}, error.code), error.stage ? ` (${error.stage})` : ""), ...detail)];
}

function factsOf(now) {
  const facts = [[t("Queue"), element("a", { href: `#/queues/${encodeURIComponent(now.queue)}` }, now.queue)], [t("Converter"), now.converter], [t("Priority"), String(now.priority)],
    [t("Submitted"), when(now.created_at)]];
  if (now.state === "queued") facts.push([t("Due"), when(now.run_at)]);
  if (now.started_at) facts.push([t("Waited"), span(Math.max(between(now.run_at, now.attempts.at(-1)?.started_at || now.started_at), 0))]);
  if (now.finished_at) facts.push([t("Ended"), when(now.finished_at)]);
  if (now.started_at && now.finished_at) facts.push([t("Took"), span(between(now.started_at, now.finished_at))]);
  if (now.reused) facts.push([t("Converted"), t("no: an equal file had been")]);
  facts.push([t("Limits"), `${now.soft_time_limit} / ${now.hard_time_limit}`], [t("Failures"), `${now.failures} / ${now.max_attempts}`]);
  if (now.pipeline) facts.push([t("Pipeline"), element("a", { class: "id", href: `#/pipelines/${now.pipeline}` }, now.step || now.pipeline.slice(-8))]);
  if (now.fairness_key) facts.push([t("Site"), now.fairness_key]);
  if (now.waiting_on?.length) facts.push([t("Waits for"), list(now.waiting_on)]);
  facts.push([t("Id"), element("code", {}, now.id)]);
  return facts;
}

function list(ids) {
  return element("span", {}, ...ids.slice(0, 5).map((id) => element("a", { class: "id", href: `#/jobs/${id}` }, id.slice(0, 8))), ids.length > 5 ? ` +${ids.length - 5}` : "");
}

function attemptRow(attempt) {
  const took = attempt.finished_at ? span(between(attempt.started_at, attempt.finished_at)) : "\u2026";
  const cells = [attempt.number, attempt.worker, when(attempt.started_at), took, span(attempt.cpu_ms / 1000), bytes(attempt.memory_peak_bytes), attempt.sandbox_level,
    attempt.cause ? CAUSES[attempt.cause] || attempt.cause : t("runs")];
  return element("tr", {}, ...cells.map((cell) => element("td", {}, typeof cell === "number" ? String(cell) : cell)));
}

function input(now) {
  if (!now.input) return element("span", {});
  return element("div", { class: "output-card" }, element("div", { class: "output-words" },
    element("p", { class: "name", title: now.input.name }, now.input.name), element("p", { class: "dim" }, [t("Input"), now.input.format, bytes(now.input.size_bytes)].filter(Boolean).join(", ")),
    element("p", { class: "dim" }, measures(now.input.media))));
}

function outputOf(now, output, tools) {
  const proof = output.verification;
  const proven = proof ? t("{n} checks passed", { n: proof.checks.filter((check) => check.passed).length }) : "";
  const words = output.state === "succeeded" ? [output.format || output.to, bytes(output.size_bytes), proven] : [output.to, STATES[output.state] || output.state];
  return element("div", { class: "output-card" }, preview(now, output),
    element("div", { class: "output-words" }, output.url ? downloadLink(now, output, tools) : element("p", { class: "name" }, output.name),
      element("p", { class: "dim" }, words.filter(Boolean).join(", ")), element("p", { class: "dim" }, measures(output.media)),
      output.error ? element("p", { class: "trouble-text" }, output.error.message) : null));
}

function measures(media) {
  if (!media) return "";
  const size = media.width ? `${media.width} \u00d7 ${media.height}` : "";
  const length = media.duration_ms ? span(media.duration_ms / 1000) : "";
  const pages = media.pages ? t("{n} pages", { n: media.pages }) : "";
  const codecs = (media.streams || []).map((stream) => stream.codec).join(" + ");
  return [size, length, pages, codecs].filter(Boolean).join(", ");
}

const PICTURES = ["jpeg", "png", "webp", "gif", "avif", "apng"];
const FILMS = ["mp4", "webm"];
const SOUNDS = ["mp3", "m4a", "ogg", "opus", "wav", "flac"];

/// What the browser itself can show of an output; the bytes are the browser's to judge, the address is a signed link.
function preview(now, output) {
  const kind = PICTURES.includes(output.format) ? "img" : FILMS.includes(output.format) ? "video" : SOUNDS.includes(output.format) ? "audio" : null;
  if (!output.url || !kind) return null;
  const shown = element(kind, kind === "img" ? { alt: t("Preview of {name}", { name: output.name }), loading: "lazy" } : { controls: true, preload: "metadata" });
  linkTo(now.id, output).then((url) => (shown.src = url), () => shown.remove());
  return element("div", { class: "preview" }, shown);
}

function logLine(line) {
  return element("li", { "data-level": line.level }, element("time", { title: new Date(line.at).toLocaleString() }, new Date(line.at).toLocaleTimeString()), element("span", { class: "source" }, line.source), element("span", {}, line.message));
}

/// Options that say something.
function set(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).map(([key, inner]) => [key, set(inner)]).filter(([, inner]) => inner !== null && !(typeof inner === "object" && !Array.isArray(inner) && !Object.keys(inner).length));
  return Object.fromEntries(kept);
}
