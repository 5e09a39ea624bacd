// The queues as cards: slots, depth, pause and resume.

import { icon } from "./icons.js";
import { ask } from "./server.js";
import { element, say, span, t } from "./words.js";

const ORDER = ["video", "audio", "image", "document", "archive", "default", "cleanup"];
/// More slots than these are told in figures only.
const PIPS = 12;

const list = document.getElementById("queues");
const summary = document.getElementById("summary");
const cards = new Map();

/// As people think of them, and then by name.
export function inOrder(queues) {
  const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...queues].sort((a, b) => place(a.name) - place(b.name) || a.name.localeCompare(b.name));
}

export function showQueues(queues, failed) {
  for (const queue of inOrder(queues)) {
    if (!cards.has(queue.name)) {
      const card = build(queue.name, failed);
      cards.set(queue.name, card);
      list.append(card.item);
    }
    cards.get(queue.name).update(queue);
  }
  const sum = (field) => queues.reduce((n, q) => n + q.jobs[field], 0);
  say(summary, t("{running} running, {waiting} waiting, {done} done", { running: sum("running"), waiting: sum("queued"), done: sum("succeeded") }));
}

function build(name, failed) {
  const figure = (label) => {
    const value = element("dd", {}, "0");
    return { value, pair: element("div", {}, element("dt", {}, label), value) };
  };
  const running = figure(t("running"));
  const queued = figure(t("waiting"));
  const lost = figure(t("failed"));
  lost.pair.classList.add("lost");
  const pips = element("div", { class: "pips", role: "img" });
  const note = element("p", { class: "queue-note" });
  let paused = false;
  const button = element("button", {
    type: "button",
    class: "quiet turn",
    "data-needs": "admin",
    onclick: async () => {
      button.disabled = true;
      try {
        card.update(await ask("POST", `/v1/queues/${encodeURIComponent(name)}/${paused ? "resume" : "pause"}`));
      } catch (error) {
        failed(error);
      }
      button.disabled = false;
    },
  });
  const item = element("li", { class: "queue", "data-family": name },
    element("div", { class: "queue-head" }, icon(name), element("h3", {}, element("a", { href: `#/queues/${encodeURIComponent(name)}` }, name)), button), pips,
    element("dl", {}, running.pair, queued.pair, lost.pair), note);

  function update(queue) {
    paused = queue.paused;
    item.toggleAttribute("data-paused", paused);
    item.toggleAttribute("data-busy", queue.jobs.running > 0);
    const label = paused ? t("Resume the queue {name}", { name }) : t("Pause the queue {name}", { name });
    if (button.title !== label) {
      button.replaceChildren(icon(paused ? "resume" : "pause"));
      button.setAttribute("aria-label", label);
      button.title = label;
    }
    for (const [figure, n] of [[running, queue.jobs.running], [queued, queue.jobs.queued], [lost, queue.jobs.failed]]) {
      say(figure.value, n.toLocaleString("en"));
      figure.pair.toggleAttribute("data-some", n > 0);
    }
    const shown = Math.min(Math.max(queue.concurrency, queue.slots_used), PIPS);
    while (pips.childElementCount > shown) pips.lastChild.remove();
    while (pips.childElementCount < shown) pips.append(element("i"));
    [...pips.children].forEach((pip, n) => pip.toggleAttribute("data-used", n < queue.slots_used));
    pips.setAttribute("aria-label", t("{used} of {slots} slots in use", { used: queue.slots_used, slots: queue.concurrency }));
    pips.title = pips.getAttribute("aria-label");
    const oldest = queue.oldest_waiting_s !== null && queue.oldest_waiting_s >= 10 ? t("oldest waits {time}", { time: span(Math.max(queue.oldest_waiting_s, 10)) }) : "";
    say(note, paused ? t("Paused: nothing new starts") : oldest);
  }

  const card = { item, update };
  return card;
}
