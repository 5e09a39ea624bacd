// Jobs as rows: what runs and waits, and what has ended.

import { icon } from "./icons.js";
import { ask, download, token } from "./server.js";
import { STATES, between, bytes, change, element, say, span, stage, t, when } from "./words.js";

/// Outputs beyond these are behind "more".
const LINKS = 3;

export function isOver(job) {
  return job.state === "succeeded" || job.state === "failed" || job.state === "cancelled";
}

export function nameOf(job) {
  return job.input ? job.input.name : job.converter;
}

/// A list of rows that follows a list of jobs; rows stay, so that focus does.
export function jobList(list, tools) {
  const rows = new Map();
  return {
    show(jobs) {
      const wanted = new Set(jobs.map((job) => job.id));
      for (const [id, row] of rows) {
        if (wanted.has(id)) continue;
        row.item.remove();
        rows.delete(id);
      }
      jobs.forEach((job, at) => {
        if (!rows.has(job.id)) rows.set(job.id, build(job, tools));
        const row = rows.get(job.id);
        row.update(job);
        if (list.children[at] !== row.item) list.insertBefore(row.item, list.children[at] || null);
      });
    },
    progress(news) {
      rows.get(news.job)?.progress(news.progress);
    },
  };
}

function build(first, tools) {
  const name = element("a", { class: "name", href: `#/jobs/${first.id}` });
  const pick = tools.pick && element("input", { type: "checkbox", "aria-label": t("Pick {name}", { name: nameOf(first) }) });
  const route = element("span", { class: "route" });
  const state = element("span", { class: "state" });
  const facts = element("p", { class: "facts" });
  const trouble = element("div", { class: "trouble" });
  const outputs = element("div", { class: "outputs" });
  const actions = element("div", { class: "actions" });
  const bar = progressBar();
  const item = element("li", { class: "job" },
    pick ? element("span", { class: "pick" }, pick, icon(first.queue)) : icon(first.queue),
    element("div", { class: "job-main" }, element("div", { class: "job-head" }, name, route), bar.element, facts, trouble),
    element("div", { class: "job-side" }, state, outputs, actions));
  let shown = "";
  let last = first;
  pick?.addEventListener("change", () => tools.pick(last, pick.checked));

  function update(job) {
    last = job;
    if (pick) pick.checked = tools.picked(job.id);
    const now = JSON.stringify([job.state, job.cancel, job.attempt, job.error, job.outputs.map((o) => [o.name, o.state, o.url]), job.finished_at, job.run_at]);
    if (job.state === "running") bar.update(job.progress);
    if (now === shown) return;
    shown = now;
    item.dataset.state = job.state;
    item.dataset.family = job.queue;
    say(name, nameOf(job));
    name.title = nameOf(job);
    route.replaceChildren(...(job.from ? [element("b", {}, job.from), " \u2192 ", element("b", {}, [...new Set(job.outputs.map((o) => o.to))].slice(0, 3).join(", ") || job.to)] : []));
    say(state, job.cancel && !isOver(job) ? t("Stopping") : job.partial ? t("Partly done") : STATES[job.state]);
    bar.element.hidden = job.state !== "running";
    facts.replaceChildren(...dotted(factsOf(job)));
    trouble.replaceChildren(...troubleOf(job));
    outputs.replaceChildren(...linksOf(job, tools));
    actions.replaceChildren(...actionsOf(job, tools));
  }

  update(first);
  return { item, update, progress: bar.update };
}

/// A bar with its percentage, its stage and what is left.
export function progressBar() {
  const bar = element("progress", { max: "100", value: "0" });
  const percent = element("span", { class: "percent" });
  const doing = element("span", { class: "doing" });
  const made = element("div", { class: "bar" }, bar, percent, doing);
  return {
    element: made,
    update(progress) {
      // How much there is may not be known: then the bar only says that something moves.
      const unknown = progress.percent === 0 && progress.total === 0 && progress.current > 0;
      if (unknown) bar.removeAttribute("value");
      else bar.value = progress.percent;
      bar.setAttribute("aria-label", t("Progress"));
      say(percent, !unknown ? `${Math.floor(progress.percent)} %` : progress.unit === "bytes" ? bytes(progress.current) : String(progress.current));
      const left = progress.eta_s !== null && progress.eta_s >= 0.5 ? `, ${t("{time} left", { time: span(progress.eta_s) })}` : "";
      say(doing, stage(progress) + left);
    },
    /// For uploads: share from 0 to 1.
    share(part, text) {
      bar.value = part * 100;
      bar.setAttribute("aria-label", text);
      say(percent, `${Math.floor(part * 100)} %`);
      say(doing, text);
    },
  };
}

function dotted(parts) {
  return parts.filter(Boolean).map((part) => element("span", {}, part));
}

function factsOf(job) {
  const facts = [];
  const after = job.outputs.filter((o) => o.size_bytes !== null).reduce((sum, o) => sum + o.size_bytes, 0);
  if (job.state === "succeeded" && job.input) {
    facts.push(`${bytes(job.input.size_bytes)} \u2192 ${bytes(after)}`);
    facts.push(change(job.input.size_bytes, after));
  } else if (job.input) {
    facts.push(bytes(job.input.size_bytes));
  }
  if (job.finished_at && job.started_at) facts.push(t("took {time}", { time: span(between(job.started_at, job.finished_at)) }));
  if (job.attempt > 1) facts.push(t("attempt {n} of {most}", { n: job.attempt, most: job.max_attempts }));
  if (job.state === "queued" && new Date(job.run_at) > Date.now()) facts.push(element("span", {}, `${t("starts")} `, when(job.run_at)));
  facts.push(when(job.finished_at || job.started_at || job.created_at));
  return facts;
}

function troubleOf(job) {
  if (!job.error || job.state === "succeeded" || job.error.code === "cancelled") return [];
  return [
    element("p", { class: "trouble-text" }, job.error.message, " ", element("span", { class: "hint" }, job.error.hint)),
    element("code", { title: t("The error's stable code") }, job.error.code),
  ];
}

function linksOf(job, tools) {
  const ready = job.outputs.filter((o) => o.url);
  const link = (output) => downloadLink(job, output, tools);
  if (ready.length <= LINKS) return ready.map(link);
  const rest = element("details", {}, element("summary", {}, t("{n} more", { n: ready.length - LINKS + 1 })), element("div", { class: "rest" }, ...ready.slice(LINKS - 1, 200).map(link)));
  return [...ready.slice(0, LINKS - 1).map(link), rest];
}

export function downloadLink(job, output, tools) {
  const label = t("Download {name}, {size}", { name: output.name, size: bytes(output.size_bytes) });
  const link = element("a", { class: "download", href: output.url, download: true, title: label, "aria-label": label }, output.name);
  link.addEventListener("click", (event) => {
    if (!token()) return;
    event.preventDefault();
    download(job.id, output.name).catch(tools.failed);
  });
  return link;
}

export function actionsOf(job, tools) {
  const button = (text, act, after = tools.changed) => {
    const made = element("button", { type: "button", class: "quiet", "data-needs": "submit", "aria-label": `${text} ${nameOf(job)}` }, text);
    made.addEventListener("click", async () => {
      made.disabled = true;
      try {
        await act();
      } catch (error) {
        made.disabled = false;
        tools.failed(error);
        return tools.changed();
      }
      after();
    });
    return made;
  };
  const path = `/v1/jobs/${job.id}`;
  if (!isOver(job)) {
    return [job.cancel ? button(t("Kill"), () => ask("POST", `${path}/cancel`, { mode: "kill" })) : button(t("Cancel"), () => ask("POST", `${path}/cancel`))];
  }
  const made = [];
  if (job.state !== "succeeded" || job.partial) made.push(button(t("Retry"), () => ask("POST", `${path}/retry`)));
  made.push(button(t("Remove"), () => ask("DELETE", path), tools.removed));
  return made;
}
