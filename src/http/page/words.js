// Numbers, times and states as people read them; elements made without markup, so that no name can become one.

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
  if (seconds < 10) return `${Math.max(seconds, 0.1).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.round(seconds / 86400)} days`;
}

export function between(from, to) {
  return (new Date(to) - new Date(from)) / 1000;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export function ago(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 10) return "just now";
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

export const STATES = { queued: "Waits", running: "Runs", succeeded: "Done", failed: "Failed", cancelled: "Cancelled" };

const STAGES = { open: "Opening", probe: "Looking", decode: "Reading", encode: "Converting", convert: "Converting", verify: "Proving", publish: "Storing", done: "Done" };

export function stage(progress) {
  const name = progress.stage || "";
  return STAGES[name] || (name ? name[0].toUpperCase() + name.slice(1) : "Starting");
}

/// How much smaller or larger the result is.
export function change(before, after) {
  if (!before || after === null || after === undefined) return "";
  const percent = Math.round((after / before - 1) * 100);
  if (percent === 0) return "same size";
  return percent < 0 ? `${-percent} % smaller` : percent < 200 ? `${percent} % larger` : `${(after / before).toFixed(1)} times as large`;
}
