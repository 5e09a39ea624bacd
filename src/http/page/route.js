// Which view is on show, by the part of the address behind `#`: `#/jobs?state=failed`, `#/jobs/ID`, `#/queues`, ...

import { element } from "./words.js";

const home = document.getElementById("home");
const stage = document.getElementById("view");
const VIEWS = {};
let current = null;

/// A view is a function of its root element and its place; what it returns hears events and is closed when it goes.
export function view(name, show) {
  VIEWS[name] = show;
}

export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query || "") };
}

/// Changes the address without a new view: for filters that the view itself has applied.
export function remember(hash) {
  history.replaceState(null, "", hash);
}

export function event(kind, data) {
  current?.event?.(kind, data);
}

export function start(tools) {
  function turn() {
    const { parts, query } = place();
    current?.close?.();
    current = null;
    const show = VIEWS[parts[0]];
    home.hidden = Boolean(show);
    stage.hidden = !show;
    stage.replaceChildren();
    document.querySelectorAll("nav a").forEach((link) => {
      const here = (parts[0] || "") === link.hash.replace(/^#\/?/, "");
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    if (!show) return;
    const root = element("div", { class: "view-body" });
    stage.append(root);
    current = show(root, { parts: parts.slice(1), query }, tools) || null;
    // A reader of the page, seen or heard, begins where the new view does.
    stage.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  addEventListener("hashchange", turn);
  turn();
}
