// Pipelines: what is under way, and one as a graph of its steps.

import { view } from "./route.js";
import { ask } from "./server.js";
import { STATES, between, confirmed, element, say, shape, span, t, when } from "./words.js";

const [WIDE, HIGH, ASIDE, BELOW] = [190, 66, 60, 18];
const STEPS = { waiting: t("waits"), running: t("runs"), over: t("done"), skipped: t("skipped") };
/// Between two readings; in milliseconds.
const CALM = 400;

view("pipelines", (root, { parts }, tools) => (parts.length ? one(root, parts[0], tools) : all(root, tools)));

function all(root, tools) {
  const rows = element("ul", { class: "jobs" });
  const empty = element("p", { class: "empty", hidden: true }, t("No pipeline was sent yet."));
  root.append(element("h2", {}, t("Pipelines")), rows, empty);
  return following(async () => {
    const { pipelines } = await ask("GET", "/v1/pipelines?limit=50");
    rows.replaceChildren(...pipelines.map(row));
    empty.hidden = pipelines.length > 0;
  }, tools);
}

function row(pipeline) {
  const bar = element("progress", { max: "100", value: String(pipeline.stats.percent), "aria-label": t("Progress") });
  return element("li", { class: "job", "data-state": pipeline.state }, element("span", {}),
    element("div", { class: "job-main" }, element("div", { class: "job-head" }, element("a", { class: "name", href: `#/pipelines/${pipeline.id}` }, Object.keys(pipeline.steps).join(" \u2192 "))),
      pipeline.state === "running" ? bar : null, element("p", { class: "facts" }, element("span", {}, figures(pipeline.stats)), element("span", {}, when(pipeline.created_at)))),
    element("div", { class: "job-side" }, element("span", { class: "state" }, stateOf(pipeline))));
}

function stateOf(pipeline) {
  return pipeline.partial ? t("Partly done") : pipeline.cancel && pipeline.state === "running" ? t("Stopping") : STATES[pipeline.state];
}

function figures(stats) {
  return t("{done} of {total} jobs done, {failed} failed", { done: stats.done, total: stats.total, failed: stats.failed });
}

function one(root, id, tools) {
  const title = element("h2", {}, t("Pipeline"));
  const state = element("span", { class: "state" });
  const cancel = element("button", { type: "button", class: "quiet", "data-needs": "submit" }, t("Cancel"));
  const retry = element("button", { type: "button", class: "quiet", "data-needs": "submit", hidden: true }, t("Retry"));
  const facts = element("p", { class: "dim" });
  const graph = shape("svg", { class: "graph", role: "group" });
  const errors = element("tbody", {});
  const table = element("div", { class: "scroll", hidden: true }, element("table", {}, element("tbody", {}), errors));
  const body = element("article", { class: "one-job" }, element("p", {}, element("a", { href: "#/pipelines" }, t("All pipelines"))), element("header", {}, title, state, retry, cancel), facts,
    element("div", { class: "scroll graph-box" }, graph), table);
  const path = `/v1/pipelines/${encodeURIComponent(id)}`;
  root.append(body);
  cancel.addEventListener("click", async () => {
    if (!(await confirmed(t("Cancel the whole pipeline?"), t("Cancel them")))) return;
    ask("POST", `${path}/cancel`).catch(tools.failed);
  });
  retry.addEventListener("click", () => ask("POST", `${path}/retry`).catch(tools.failed));
  return following(async () => {
    const now = await ask("GET", path);
    body.dataset.state = now.state;
    say(state, stateOf(now));
    cancel.hidden = now.state !== "running";
    retry.hidden = !now.partial && !["failed", "cancelled"].includes(now.state);
    facts.replaceChildren(`${figures(now.stats)}, `, when(now.created_at), now.finished_at ? `, ${t("took {time}", { time: span(between(now.created_at, now.finished_at)) })}` : "");
    draw(graph, now);
    table.hidden = now.errors.length === 0;
    errors.replaceChildren(...now.errors.map((error) => element("tr", {}, element("th", { scope: "row" }, error.step), element("td", {}, error.job ? element("a", { href: `#/jobs/${error.job}` }, error.item) : error.item),
      element("td", { class: "wrap" }, error.error.message))));
  }, tools);
}

/// Reads at once, and again soon after anything happened.
function following(read, tools) {
  let timer = 0;
  const go = () => {
    timer = 0;
    read().catch(tools.failed);
  };
  go();
  return {
    event(kind) {
      if (kind !== "progress" && kind !== "queues") timer ||= setTimeout(go, CALM);
    },
    close: () => clearTimeout(timer),
  };
}

/// Steps in columns: each stands right of all it needs.
function draw(graph, pipeline) {
  const names = Object.keys(pipeline.steps);
  const depth = new Map();
  const deep = (name) => {
    if (!depth.has(name)) depth.set(name, Math.max(-1, ...pipeline.steps[name].needs.map(deep)) + 1);
    return depth.get(name);
  };
  names.forEach(deep);
  const filled = [];
  const places = new Map(names.map((name) => {
    const column = depth.get(name);
    filled[column] = (filled[column] || 0) + 1;
    return [name, { x: 1 + column * (WIDE + ASIDE), y: 1 + (filled[column] - 1) * (HIGH + BELOW) }];
  }));
  const [width, height] = [filled.length * (WIDE + ASIDE) - ASIDE + 2, Math.max(...filled) * (HIGH + BELOW) - BELOW + 2];
  for (const [name, value] of [["width", width], ["height", height], ["viewBox", `0 0 ${width} ${height}`], ["aria-label", `${t("Pipeline")}: ${names.join(", ")}`]]) graph.setAttribute(name, value);
  const edges = names.flatMap((name) => pipeline.steps[name].needs.map((from) => edge(places.get(from), places.get(name))));
  graph.replaceChildren(...edges, ...names.map((name) => node(pipeline, name, places.get(name))));
}

function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDE, from.y + HIGH / 2, to.x, to.y + HIGH / 2];
  const bend = (x1 + x2) / 2;
  return shape("path", { class: "edge", d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` });
}

function node(pipeline, name, { x, y }) {
  const { state, stats } = pipeline.steps[name];
  const link = shape("a", { href: `#/jobs?pipeline=${pipeline.id}&step=${encodeURIComponent(name)}`, class: "node", "data-state": stats.failed ? "failed" : state });
  const text = (at, words, kind) => {
    const made = shape("text", { x: x + 12, y: y + at, class: kind });
    made.textContent = words.length > 24 ? `${words.slice(0, 23)}\u2026` : words;
    return made;
  };
  link.append(shape("rect", { x, y, width: WIDE, height: HIGH, rx: 9 }), shape("rect", { class: "fill", x: x + 12, y: y + HIGH - 12, width: ((WIDE - 24) * stats.percent) / 100, height: 4, rx: 2 }),
    text(24, name, "node-name"), text(45, stats.total ? `${STEPS[state]}, ${stats.done}/${stats.total}` : STEPS[state], "node-words"));
  return link;
}
