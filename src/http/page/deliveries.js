// What others were told of jobs, and what they never heard: letters by webhook, hook and mail.

import { head } from "./job.js";
import { view } from "./route.js";
import { ask } from "./server.js";
import { element, t, when } from "./words.js";

const STATES = { pending: t("on its way"), delivered: t("delivered"), dead: t("given up") };

view("letters", (root, _place, tools) => {
  const state = element("select", { "aria-label": t("State") }, element("option", { value: "dead" }, t("given up")), element("option", { value: "pending" }, t("on its way")), element("option", { value: "" }, t("All")));
  const rows = element("tbody", {});
  const table = element("div", { class: "scroll" }, element("table", {}, head([t("Event"), t("Job"), t("To"), t("State"), t("Tries"), t("Last answer"), t("When"), ""]), rows));
  const empty = element("p", { class: "empty", hidden: true }, t("None. What is told is tried for a day before it is given up."));
  const every = element("button", { type: "button", "data-needs": "admin" }, t("Send all again"));
  root.append(element("div", { class: "title-row" }, element("h2", {}, t("Letters")), element("div", { class: "search" }, state, every)), table, empty);
  let shown = [];

  async function read() {
    try {
      shown = (await ask("GET", `/v1/webhooks/deliveries?limit=100${state.value ? `&state=${state.value}` : ""}`)).deliveries;
    } catch (error) {
      return tools.failed(error);
    }
    rows.replaceChildren(...shown.map(row));
    table.hidden = shown.length === 0;
    empty.hidden = shown.length > 0;
    every.hidden = state.value !== "dead" || shown.length === 0;
  }

  const replay = (letter) => ask("POST", `/v1/webhooks/deliveries/${encodeURIComponent(letter.id)}/replay`);

  function row(letter) {
    const again = element("button", { type: "button", class: "quiet", "data-needs": "admin", "aria-label": `${t("Send again")} ${letter.id}` }, t("Send again"));
    again.addEventListener("click", async () => {
      again.disabled = true;
      await replay(letter).catch(tools.failed);
      read();
    });
    const last = letter.tries.at(-1);
    return element("tr", {}, element("th", { scope: "row" }, letter.event), element("td", {}, element("a", { class: "id", href: letter.pipeline ? `#/pipelines/${letter.pipeline}` : `#/jobs/${letter.job}` }, (letter.pipeline ?? letter.job).slice(-8))), element("td", { class: "wrap" }, targetOf(letter.target)),
      element("td", {}, STATES[letter.state]), element("td", {}, String(letter.tries.length)), element("td", { class: "wrap" }, last ? [last.status, last.answer].filter(Boolean).join(" ").slice(0, 200) : "\u2013"), element("td", {}, when(letter.at)),
      element("td", { class: "actions" }, letter.state === "pending" ? "" : again));
  }

  every.addEventListener("click", async () => {
    every.disabled = true;
    for (const letter of shown) await replay(letter).catch(tools.failed);
    every.disabled = false;
    read();
  });
  state.addEventListener("change", read);
  read();
  return { event: (kind) => ["succeeded", "failed"].includes(kind) && read() };
});

function targetOf(target) {
  return target.url || target.hook || target.to || t("the admins");
}
