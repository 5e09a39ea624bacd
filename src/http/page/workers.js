// The processes that hold pools: how they are, what they run; drained and restarted from here.

import { head } from "./job.js";
import { view } from "./route.js";
import { ask } from "./server.js";
import { bytes, confirmed, element, t, when } from "./words.js";

/// Between two readings; in milliseconds.
const EVERY = 2000;
const STATES = { running: t("works"), draining: t("drains") };

view("workers", (root, _place, tools) => {
  const rows = element("tbody", {});
  const table = element("table", {}, head([t("Worker"), t("State"), t("Running"), t("Slots"), t("Memory"), t("Jail"), t("Version"), t("Since"), ""]), rows);
  const empty = element("p", { class: "empty", hidden: true }, t("No worker has spoken within half a minute: nothing is being converted."));
  root.append(element("h2", {}, t("Workers")), element("div", { class: "scroll" }, table), empty,
    element("p", { class: "dim" }, t("Jail 4: Landlock, seccomp, namespaces and cgroups; 3: without some of them; below 3 a service starts only where its floor allows.")));
  let timer = 0;
  let closed = false;
  let shown = "";

  async function read() {
    clearTimeout(timer);
    try {
      const workers = await ask("GET", "/v1/workers");
      const now = JSON.stringify(workers.map((worker) => ({ ...worker, seen_at: null })));
      if (now !== shown) rows.replaceChildren(...workers.map(row));
      shown = now;
      empty.hidden = workers.length > 0;
      table.hidden = workers.length === 0;
    } catch (error) {
      if (error.document?.status) tools.failed(error);
    }
    if (!closed) timer = setTimeout(read, EVERY);
  }

  function row(worker) {
    const running = worker.queues.flatMap((pool) => pool.running);
    const links = running.slice(0, 8).map((id) => element("a", { class: "id", href: `#/jobs/${id}` }, id.slice(-8)));
    const slots = worker.queues.map((pool) => `${pool.queue} ${pool.running.length}/${pool.slots}`).join(", ");
    const state = worker.order ? t("was told to {order}", { order: worker.order }) : STATES[worker.state];
    return element("tr", { "data-state": worker.state }, element("th", { scope: "row" }, worker.host, " ", element("span", { class: "dim" }, String(worker.pid))), element("td", {}, state),
      element("td", {}, ...links, running.length > 8 ? ` +${running.length - 8}` : running.length ? "" : "\u2013"), element("td", { class: "dim wrap" }, slots), element("td", {}, bytes(worker.memory_bytes)),
      element("td", { class: worker.sandbox_level < 3 ? "lost" : "" }, String(worker.sandbox_level)), element("td", {}, worker.version), element("td", {}, when(worker.started_at)),
      element("td", { class: "actions", "data-needs": "admin" }, order(worker, "drain", t("Drain"), t("Let {host} finish what runs and take nothing more?")), order(worker, "restart", t("Restart"), t("Give what {host} runs back to the queue and start it anew?"))));
  }

  function order(worker, name, text, question) {
    const made = element("button", { type: "button", class: "quiet", "aria-label": `${text} ${worker.id}`, disabled: name === "drain" && worker.state === "draining" }, text);
    made.addEventListener("click", async () => {
      if (!(await confirmed(question.replace("{host}", worker.host), text))) return;
      made.disabled = true;
      await ask("POST", `/v1/workers/${encodeURIComponent(worker.id)}/${name}`).catch(tools.failed);
      read();
    });
    return made;
  }

  read();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
});
