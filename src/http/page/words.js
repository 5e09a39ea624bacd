// Words, numbers, times and states as people read them; elements made without markup, so that no name can become one.

import { texts, language } from "./locale.js";

/// The reader's words for an English text, with `{name}` replaced by values.
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/// A part of a drawing (SVG).
export function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/// Sets a text only when it differs: a screen reader and a selection are left alone.
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function bytes(n) {
  if (n === null || n === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 || n >= 99.5 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

export function span(seconds) {
  if (seconds < 10) return t("{n} s", { n: Math.max(seconds, 0.1).toFixed(1) });
  if (seconds < 60) return t("{n} s", { n: Math.round(seconds) });
  if (seconds < 3600) return t("{m} min {s} s", { m: Math.floor(seconds / 60), s: Math.round(seconds % 60) });
  if (seconds < 86400) return t("{h} h {m} min", { h: Math.floor(seconds / 3600), m: Math.round((seconds % 3600) / 60) });
  return t("{n} days", { n: Math.round(seconds / 86400) });
}

export function between(from, to) {
  return (new Date(to) - new Date(from)) / 1000;
}

const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });

export function ago(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 10) return t("just now");
  if (distance < 60) return relative.format(Math.round(seconds / 10) * 10, "second");
  if (distance < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (distance < 86400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86400), "day");
}

/// A time that stays true: told relatively, with the exact one as its title.
export function when(time) {
  return element("time", { datetime: time, title: new Date(time).toLocaleString() }, ago(time));
}

export function refreshTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) say(time, ago(time.dateTime));
}

export const STATES = { queued: t("Waits"), running: t("Runs"), succeeded: t("Done"), failed: t("Failed"), cancelled: t("Cancelled") };

const STAGES = { open: t("Opening"), probe: t("Looking"), decode: t("Reading"), encode: t("Converting"), convert: t("Converting"), verify: t("Proving"), publish: t("Storing"), done: t("Done") };

export function stage(progress) {
  const name = progress.stage || "";
  return STAGES[name] || (name ? name[0].toUpperCase() + name.slice(1) : t("Starting"));
}

/// How much smaller or larger the result is.
export function change(before, after) {
  if (!before || after === null || after === undefined) return "";
  const percent = Math.round((after / before - 1) * 100);
  if (percent === 0) return t("same size");
  if (percent < 0) return t("{n} % smaller", { n: -percent });
  return percent < 200 ? t("{n} % larger", { n: percent }) : t("{n} times as large", { n: (after / before).toFixed(1) });
}

/// An input with its label above it and a hint below.
export function field(label, input, hint) {
  return element("label", { class: "field" }, element("span", {}, label), input, hint ? element("small", {}, hint) : null);
}

/// Asks before something that cannot be taken back; true when it is wanted.
export function confirmed(question, yes) {
  const dialog = document.getElementById("confirm");
  const button = dialog.querySelector(".primary");
  say(dialog.querySelector("p"), question);
  say(button, yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((keep) => dialog.addEventListener("close", () => keep(dialog.returnValue === "yes"), { once: true }));
}

/// Puts the reader's words into what stands in the page itself.
export function translate(root) {
  document.documentElement.lang = language;
  for (const part of root.querySelectorAll("[data-t]")) say(part, t(part.textContent.trim().replace(/\s+/g, " ")));
  for (const part of root.querySelectorAll("[data-t-placeholder]")) part.placeholder = t(part.placeholder);
}
