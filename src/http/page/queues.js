// The queues as cards: slots, depth, pause and resume.

import { icon } from "./icons.js";
import { ask } from "./server.js";
import { element, say, span } from "./words.js";

const ORDER = ["video", "audio", "image", "document", "archive", "default", "cleanup"];
/// More slots than these are told in figures only.
const PIPS = 12;

const list = document.getElementById("queues");
const summary = document.getElementById("summary");
const cards = new Map();

function place(name) {
  const at = ORDER.indexOf(name);
  return at < 0 ? ORDER.length : at;
}

export function showQueues(queues, failed) {
  const sorted = [...queues].sort((a, b) => place(a.name) - place(b.name) || a.name.localeCompare(b.name));
  for (const queue of sorted) {
    if (!cards.has(queue.name)) {
      const card = build(queue.name, failed);
      cards.set(queue.name, card);
      list.append(card.item);
    }
    cards.get(queue.name).update(queue);
  }
  const sum = (field) => queues.reduce((n, q) => n + q.jobs[field], 0);
  say(summary, `${sum("running")} running, ${sum("queued")} waiting, ${sum("succeeded")} done`);
}

function build(name, failed) {
  const figure = (label) => {
    const value = element("dd", {}, "0");
    return { value, pair: element("div", {}, element("dt", {}, label), value) };
  };
  const running = figure("running");
  const queued = figure("waiting");
  const lost = figure("failed");
  lost.pair.classList.add("lost");
  const pips = element("div", { class: "pips", role: "img" });
  const note = element("p", { class: "queue-note" });
  let paused = false;
  const button = element("button", {
    type: "button",
    class: "quiet turn",
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
    element("div", { class: "queue-head" }, icon(name), element("h3", {}, name), button), pips,
    element("dl", {}, running.pair, queued.pair, lost.pair), note);

  function update(queue) {
    paused = queue.paused;
    item.toggleAttribute("data-paused", paused);
    item.toggleAttribute("data-busy", queue.jobs.running > 0);
    const label = `${paused ? "Resume" : "Pause"} the queue ${name}`;
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
    pips.setAttribute("aria-label", `${queue.slots_used} of ${queue.concurrency} slots in use`);
    pips.title = pips.getAttribute("aria-label");
    const oldest = queue.oldest_waiting_s !== null && queue.oldest_waiting_s >= 10 ? `oldest waits ${span(Math.max(queue.oldest_waiting_s, 10))}` : "";
    say(note, paused ? "Paused: nothing new starts" : oldest);
  }

  const card = { item, update };
  return card;
}
