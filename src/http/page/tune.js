// The queues' settings: how many at once, for how long, how often; changes hold at once on every worker.

import { icon } from "./icons.js";
import { inOrder } from "./queues.js";
import { view } from "./route.js";
import { ask } from "./server.js";
import { confirmed, element, field, say, t } from "./words.js";

view("queues", (root, { parts }, tools) => {
  const cards = new Map();
  const list = element("div", { class: "tuning" });
  root.append(element("h2", {}, t("Queues")), element("p", { class: "dim" }, t("What is changed here holds within a second on every worker, and stays after a restart.")), list);

  function show(queues) {
    for (const queue of inOrder(queues)) {
      if (!cards.has(queue.name)) {
        const card = build(queue, tools);
        cards.set(queue.name, card);
        list.append(card.element);
        if (queue.name === parts[0]) requestAnimationFrame(() => card.element.scrollIntoView({ block: "center" }));
      }
      cards.get(queue.name).update(queue);
    }
  }

  ask("GET", "/v1/queues").then(show, tools.failed);
  return { event: (kind, data) => kind === "queues" && show(data) };
});

function build(first, tools) {
  const number = (min, max) => element("input", { type: "number", min, max, inputmode: "numeric" });
  const words = (placeholder) => element("input", { type: "text", placeholder, spellcheck: "false", autocomplete: "off" });
  const inputs = { concurrency: number(0, 1024), least: number(0, 1024), most: number(1, 1024), soft: words("10m"), hard: words("15m"), rate: words(t("none")), attempts: number(1, 100) };
  const auto = element("input", { type: "checkbox" });
  const fixed = field(t("Slots"), inputs.concurrency);
  const range = element("div", { class: "pair" }, field(t("At least"), inputs.least), field(t("At most"), inputs.most));
  const depth = element("p", { class: "dim" });
  const told = element("p", { class: "told", role: "status" });
  const turn = element("button", { type: "button", "data-needs": "admin" });
  const purge = element("button", { type: "button", class: "grave", "data-needs": "admin" }, t("Cancel all that wait"));
  const save = element("button", { type: "submit", class: "primary", "data-needs": "admin" }, t("Save"));
  const form = element("form", { class: "tune", "aria-label": t("Settings of {name}", { name: first.name }) },
    element("label", { class: "check" }, auto, t("Follow the load")), fixed, range,
    field(t("Soft time limit"), inputs.soft, t("then it is asked to stop")), field(t("Hard time limit"), inputs.hard, t("then it is killed")),
    field(t("Starts"), inputs.rate, t("such as 10/m; empty: as fast as it goes")), field(t("Attempts"), inputs.attempts), save, told);
  const card = element("section", { class: "tune-card", "data-family": first.name }, element("header", {}, icon(first.name), element("h3", {}, first.name), depth, turn, purge), form);
  const path = `/v1/queues/${encodeURIComponent(first.name)}`;
  let now = first;
  let touched = false;

  function fill() {
    auto.checked = Boolean(now.autoscale);
    inputs.concurrency.value = now.autoscale ? "" : now.concurrency;
    inputs.least.value = now.autoscale?.min ?? 1;
    inputs.most.value = now.autoscale?.max ?? Math.max(now.concurrency, 1);
    inputs.soft.value = now.soft_time_limit;
    inputs.hard.value = now.hard_time_limit;
    inputs.rate.value = now.rate_limit ?? "";
    inputs.attempts.value = now.max_attempts;
    arrange();
  }

  function arrange() {
    fixed.hidden = auto.checked;
    range.hidden = !auto.checked;
  }

  function update(queue) {
    now = queue;
    card.toggleAttribute("data-paused", queue.paused);
    say(depth, t("{running} run, {queued} wait, {used} of {slots} slots in use", { running: queue.jobs.running, queued: queue.jobs.queued, used: queue.slots_used, slots: queue.concurrency }));
    say(turn, queue.paused ? t("Resume") : t("Pause"));
    purge.disabled = queue.jobs.queued === 0;
    // What somebody is writing is not written over.
    if (!touched) fill();
  }

  /// Does it and says so; `words` makes a sentence of the answer.
  async function act(request, words) {
    try {
      const answer = await request();
      if (answer.name) update(answer);
      say(told, words(answer));
      told.dataset.state = "good";
    } catch (error) {
      say(told, error.message);
      told.dataset.state = "bad";
    }
  }

  form.addEventListener("input", () => {
    touched = true;
    say(told, "");
    arrange();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const change = { soft_time_limit: inputs.soft.value.trim(), hard_time_limit: inputs.hard.value.trim(), rate_limit: inputs.rate.value.trim() || null, max_attempts: Number(inputs.attempts.value) };
    if (auto.checked) change.autoscale = { min: Number(inputs.least.value), max: Number(inputs.most.value) };
    else Object.assign(change, { concurrency: Number(inputs.concurrency.value) }, now.autoscale ? { autoscale: null } : {});
    act(async () => {
      const answer = await ask("PATCH", path, change);
      touched = false;
      return answer;
    }, () => t("Saved."));
  });
  turn.addEventListener("click", () => act(() => ask("POST", `${path}/${now.paused ? "resume" : "pause"}`), () => ""));
  purge.addEventListener("click", async () => {
    if (!(await confirmed(t("Cancel {n} waiting jobs of {name}?", { n: now.jobs.queued, name: now.name }), t("Cancel them")))) return;
    act(() => ask("POST", `${path}/purge`), (answer) => t("{n} cancelled.", { n: answer.cancelled }));
  });
  update(first);
  return { element: card, update };
}
