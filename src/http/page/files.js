// Files from the visitor: uploaded, recognised, converted, given back.

import { downloadLink, isOver, progressBar } from "./jobs.js";
import { ask, upload } from "./server.js";
import { bytes, change, element, say, t } from "./words.js";

/// What most people want from a format's family; the first that is possible is offered first.
const USUAL = {
  video: ["mp4", "webm", "gif", "mp3"],
  audio: ["mp3", "opus", "m4a", "wav"],
  image: ["webp", "jpeg", "png", "avif"],
  document: ["pdf", "docx", "txt", "html"],
  archive: ["zip", "tar.zst", "7z", "files"],
};

const list = document.getElementById("files");
const together = document.getElementById("together");
const rows = new Set();
let registry = null;

/// The formats and presets are read once, when the first file needs them.
function known() {
  registry ??= Promise.all([ask("GET", "/v1/formats"), ask("GET", "/v1/presets")]).then(([table, presets]) => ({
    formats: new Map(table.formats.map((f) => [f.id, f])),
    presets,
  }));
  registry.catch(() => (registry = null));
  return registry;
}

export function fileIntake(tools) {
  const drop = document.getElementById("drop");
  const pick = document.getElementById("pick");
  pick.addEventListener("change", () => {
    take([...pick.files], tools);
    pick.value = "";
  });
  let depth = 0;
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (event.type === "dragenter") depth += 1;
    drop.toggleAttribute("data-over", true);
  };
  document.addEventListener("dragenter", over);
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", () => {
    depth = Math.max(depth - 1, 0);
    if (depth === 0) drop.removeAttribute("data-over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.removeAttribute("data-over");
    const items = [...(event.dataTransfer?.items || [])].filter((item) => item.kind === "file");
    if (items.some((item) => item.webkitGetAsEntry?.()?.isDirectory)) tools.failed(new Error(t("A folder cannot be sent as it is: pack it into a zip first.")));
    take(items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile()).filter(Boolean), tools);
  });
  return {
    job: (job) => rows.forEach((row) => row.job(job)),
    progress: (news) => rows.forEach((row) => row.progress(news)),
    follows: (id) => [...rows].some((row) => row.id === id),
  };
}

function take(files, tools) {
  for (const file of files) {
    const row = build(file, tools);
    rows.add(row);
    list.append(row.item);
    row.start();
  }
  offerTogether();
}

/// With several files ready, one button for all.
function offerTogether() {
  const ready = [...rows].filter((row) => row.ready());
  together.hidden = ready.length < 2;
  const all = element("button", { type: "button", class: "primary", onclick: () => ready.forEach((row) => row.convert()) }, t("Convert all {n}", { n: ready.length }));
  together.replaceChildren(element("span", {}, t("{n} files are ready.", { n: ready.length })), all);
}

function build(file, tools) {
  const bar = progressBar();
  const told = element("p", { class: "told" });
  const choice = element("div", { class: "choice" });
  const remove = element("button", { type: "button", class: "quiet", "aria-label": t("Take {name} off the list", { name: file.name }) }, t("Dismiss"));
  const item = element("li", { class: "file", "data-state": "sending" },
    element("div", { class: "file-head" }, element("span", { class: "name", title: file.name }, file.name), element("span", { class: "size" }, bytes(file.size))),
    element("div", { class: "file-middle" }, bar.element, told), choice, remove);
  let sent = null;
  let held = null;
  let picked = null;

  const row = { item, id: null, start, convert, ready: () => picked !== null && row.id === null, job, progress };

  remove.addEventListener("click", () => {
    if (sent) sent.stop();
    rows.delete(row);
    item.remove();
    offerTogether();
  });

  function turn(state, text) {
    item.dataset.state = state;
    say(told, text);
    bar.element.hidden = state !== "sending" && state !== "running";
    offerTogether();
  }

  function fail(error) {
    picked = null;
    choice.replaceChildren();
    turn("failed", error.message);
  }

  async function start() {
    turn("sending", "");
    bar.share(0, t("Sending"));
    try {
      sent = upload(file, (share) => bar.share(share, share < 1 ? t("Sending") : t("Looking at it")));
      held = await sent.done;
      sent = null;
      const { formats, presets } = await known();
      const format = formats.get(held.format);
      if (!format) return fail(new Error(file.size === 0 ? t("The file is empty.") : t("Its content is of no format known here.")));
      if (!format.to.length) return fail(new Error(t("{format} is recognised, but cannot be converted.", { format: format.name })));
      offer(format, formats, presets);
    } catch (error) {
      sent = null;
      fail(error);
    }
  }

  function offer(format, formats, presets) {
    const usual = [...(USUAL[format.family] || []), ...format.to].find((to) => to !== format.id && format.to.includes(to)) || format.to[0];
    const group = (label, options) => options.length > 0 && element("optgroup", { label }, ...options);
    const option = (value, text) => element("option", { value, selected: value === `to:${usual}` }, text);
    const fitting = presets.filter((p) => format.to.includes(p.to) && (p.queue === format.family || p.queue === formats.get(p.to)?.family));
    const byFamily = [...new Set(format.to.map((to) => formats.get(to).family))].map((family) => {
      const of = format.to.filter((to) => formats.get(to).family === family);
      return group(family, of.map((to) => option(`to:${to}`, to === formats.get(to).name.toLowerCase() ? to : `${to} (${formats.get(to).name})`)));
    });
    const select = element("select", { "aria-label": t("Convert {name} to", { name: file.name }) }, ...byFamily,
      group(t("presets"), fitting.map((p) => option(`preset:${p.name}`, `${p.name} (${p.to})`))));
    picked = () => {
      const [kind, value] = [select.value.slice(0, select.value.indexOf(":")), select.value.slice(select.value.indexOf(":") + 1)];
      return kind === "to" ? { to: value } : { preset: value };
    };
    choice.replaceChildren(element("span", {}, t("to")), select, element("button", { type: "button", class: "primary", onclick: convert }, t("Convert")));
    turn("ready", t("{format}, ready.", { format: format.name }));
  }

  async function convert() {
    if (!picked || row.id) return;
    const wish = picked();
    choice.querySelectorAll("button, select").forEach((control) => (control.disabled = true));
    try {
      const made = await ask("POST", "/v1/jobs", { input: { upload: held.id }, ...wish });
      row.id = made.id;
      choice.replaceChildren();
      job(made);
      tools.changed();
    } catch (error) {
      choice.querySelectorAll("button, select").forEach((control) => (control.disabled = false));
      turn("ready", error.message);
    }
  }

  function job(state) {
    if (state.id !== row.id) return;
    if (state.state === "queued") return turn("waiting", t("In line."));
    if (state.state === "running") {
      bar.update(state.progress);
      return turn("running", "");
    }
    if (!isOver(state) || item.dataset.state === state.state) return;
    if (state.state === "succeeded") {
      const ready = state.outputs.filter((o) => o.url);
      const after = ready.reduce((sum, o) => sum + o.size_bytes, 0);
      turn("succeeded", ready.length === 1 ? `${bytes(after)}, ${change(held.size_bytes, after)}.` : `${t("{n} files", { n: ready.length })}, ${bytes(after)}.`);
      choice.replaceChildren(...ready.slice(0, 8).map((output) => downloadLink(state, output, tools)));
    } else {
      turn(state.state, state.error ? `${state.error.message} ${state.error.code === "cancelled" ? "" : state.error.hint}` : "");
    }
  }

  function progress(news) {
    if (news.job !== row.id || !["waiting", "running"].includes(item.dataset.state)) return;
    bar.update(news.progress);
    if (item.dataset.state !== "running") turn("running", "");
  }

  return row;
}
