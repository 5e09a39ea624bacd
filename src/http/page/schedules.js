// Jobs by the clock: when each fires next; changed, run and removed from here.

import { head } from "./job.js";
import { view } from "./route.js";
import { ask } from "./server.js";
import { confirmed, element, field, say, t, when } from "./words.js";

const CONVERTERS = ["cleanup.purge-staging", "cleanup.purge-records"];

view("schedules", (root, _place, tools) => {
  const rows = element("tbody", {});
  const words = (size) => element("input", { type: "text", size, spellcheck: "false", autocomplete: "off", required: true });
  const name = words(18);
  const cron = words(14);
  const zone = words(16);
  const does = element("select", {}, ...CONVERTERS.map((id) => element("option", { value: id }, id)));
  const told = element("p", { class: "told", role: "status" });
  const form = element("form", { class: "tune", "aria-label": t("A schedule") }, field(t("Name"), name), field(t("When"), cron, t("cron with five fields, @daily, or a span as 6h")), field(t("Time zone"), zone), field(t("Does"), does),
    element("button", { type: "submit", class: "primary" }, t("Save")), told);
  zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  root.append(element("h2", {}, t("Schedules")), element("div", { class: "scroll" }, element("table", {}, head([t("Name"), t("When"), t("Time zone"), t("Does"), t("Last"), t("Next"), ""]), rows)),
    element("section", { class: "tune-card", "data-needs": "admin" }, element("h3", {}, t("Add or change")), form));

  async function read() {
    try {
      rows.replaceChildren(...(await ask("GET", "/v1/schedules")).map(row));
    } catch (error) {
      tools.failed(error);
    }
  }

  function row(schedule) {
    const path = `/v1/schedules/${encodeURIComponent(schedule.name)}`;
    const act = (text, request) => {
      const made = element("button", { type: "button", class: "quiet", "aria-label": `${text} ${schedule.name}` }, text);
      made.addEventListener("click", async () => {
        made.disabled = true;
        await request().catch(tools.failed);
        read();
      });
      return made;
    };
    const edit = element("button", { type: "button", class: "quiet", "aria-label": `${t("Edit")} ${schedule.name}` }, t("Edit"));
    edit.addEventListener("click", () => {
      [name.value, cron.value, zone.value, does.value] = [schedule.name, schedule.cron || schedule.every, schedule.time_zone, schedule.converter];
      cron.focus();
    });
    const remove = async () => (await confirmed(t("Remove the schedule {name}?", { name: schedule.name }), t("Remove"))) && ask("DELETE", path);
    return element("tr", { "data-off": !schedule.enabled }, element("th", { scope: "row" }, schedule.name), element("td", {}, element("code", {}, schedule.cron || `every ${schedule.every}`)), element("td", {}, schedule.time_zone),
      element("td", {}, schedule.celery ? schedule.celery.task : schedule.converter), element("td", {}, schedule.last_fire ? when(schedule.last_fire) : "\u2013"), element("td", {}, schedule.enabled ? when(schedule.next_fire) : t("off")),
      element("td", { class: "actions", "data-needs": "admin" }, act(t("Run now"), () => ask("POST", `${path}/run`)),
        act(schedule.enabled ? t("Turn off") : t("Turn on"), () => ask("PUT", path, { ...timing(schedule.cron || schedule.every), time_zone: schedule.time_zone, converter: schedule.converter, celery: schedule.celery, missed: schedule.missed, enabled: !schedule.enabled })), ...(schedule.celery ? [] : [edit]), act(t("Remove"), remove)));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await ask("PUT", `/v1/schedules/${encodeURIComponent(name.value.trim())}`, { ...timing(cron.value.trim()), time_zone: zone.value.trim(), converter: does.value });
      say(told, t("Saved."));
      told.dataset.state = "good";
      read();
    } catch (error) {
      say(told, error.message);
      told.dataset.state = "bad";
    }
  });
  read();
});

/// A span, or a cron expression.
function timing(text) {
  return /^(\d+(ms|s|m|h|d))+$/.test(text) ? { every: text } : { cron: text };
}
