// What happened lately, drawn: attempts, waits, slots and processors. The figures are the server's, so they outlive the page.

import { ask } from "./server.js";
import { element, say, shape, span, t } from "./words.js";

const WIDTH = 300;
const HEIGHT = 72;
/// Between two readings; in milliseconds.
const EVERY = 10000;
const WINDOWS = [["1h", t("1 hour")], ["24h", t("1 day")], ["7d", t("7 days")], ["30d", t("30 days")]];

/// Sums of some measures over all queues.
function over(point, ...measures) {
  let sum = 0;
  for (const queue of Object.values(point.queues)) for (const measure of measures) sum += queue[measure] || 0;
  return sum;
}

const CHARTS = [
  { title: t("Finished"), bars: true, series: [{ name: t("done"), of: (p) => over(p, "succeeded") }, { name: t("failed"), lost: true, of: (p) => over(p, "failed") }], tell: (n) => n.toLocaleString() },
  { title: t("Wait before the start"), series: [{ of: (p) => (over(p, "started") ? over(p, "waited_s") / over(p, "started") : null) }], tell: (s) => span(s) },
  { title: t("Slots in use"), full: 1, series: [{ of: (p) => (over(p, "open_s") ? over(p, "used_s") / over(p, "open_s") : null) }], tell: (share) => `${Math.round(share * 100)} %` },
  { title: t("Processors"), full: 1, series: [{ of: (p) => p.cpu }], tell: (share) => `${Math.round(share * 100)} %` },
];

/// The charts as an element, and the way to read them anew.
export function charts(failed) {
  const drawn = CHARTS.map(chart);
  const choice = element("select", { "aria-label": t("Time shown") }, ...WINDOWS.map(([value, text]) => element("option", { value }, text)));
  const made = element("section", { class: "charts-section", "data-needs": "read", "aria-labelledby": "charts-title" },
    element("div", { class: "title-row" }, element("h2", { id: "charts-title" }, t("Lately, in figures")), choice),
    element("div", { class: "charts" }, ...drawn.map((one) => one.element)));

  async function read() {
    try {
      const stats = await ask("GET", `/v1/stats?window=${choice.value}`);
      drawn.forEach((one) => one.show(stats));
    } catch (error) {
      if (error.document?.status) failed(error);
    }
  }

  choice.addEventListener("change", read);
  setInterval(() => document.hidden || made.closest("[hidden]") || read(), EVERY);
  return { element: made, read };
}

function chart({ title, bars, full, series, tell }) {
  const value = element("b", {});
  const note = element("span", { class: "chart-note" });
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const made = element("figure", { class: "chart" }, element("figcaption", {}, element("span", {}, title), value, note), drawing);
  let slots = [];
  let step = 60;

  function show(stats) {
    step = stats.step_s;
    slots = spread(stats);
    const values = slots.map((slot) => series.map((one) => (slot.point ? one.of(slot.point) : null)));
    const sums = values.map((of) => of.reduce((sum, n) => sum + (n || 0), 0));
    const top = full || Math.max(...sums, 0) || 1;
    drawing.replaceChildren(...(bars ? columns(values, top) : line(values, top)));
    rest(values);
    made.at = (n) => told(values[n], slots[n].at);
  }

  /// What stands beside the title while nothing is pointed at: the whole window's sum, or the last value there is.
  function rest(values) {
    const known = values.filter((of) => of.some((n) => n !== null));
    if (bars) {
      const totals = series.map((_, n) => known.reduce((sum, of) => sum + (of[n] || 0), 0));
      say(value, tell(totals[0]));
      say(note, totals[1] ? `${tell(totals[1])} ${series[1].name}` : "");
      note.toggleAttribute("data-lost", totals[1] > 0);
    } else {
      const last = known.at(-1);
      say(value, last ? tell(last[0]) : "\u2013");
      say(note, "");
    }
    drawing.setAttribute("aria-label", `${title}: ${value.textContent} ${note.textContent}`);
    made.rest = () => rest(values);
  }

  function told(of, at) {
    say(value, of[0] === null ? "\u2013" : tell(of[0]));
    const time = new Date(at).toLocaleString(undefined, step < 3600 ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric", hour: "2-digit" });
    say(note, of[1] ? `${tell(of[1])} ${series[1].name}, ${time}` : time);
  }

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const at = Math.floor(((event.clientX - box.left) / box.width) * slots.length);
    if (slots[at]) made.at(at);
  });
  drawing.addEventListener("pointerleave", () => made.rest?.());
  return { element: made, show };
}

/// Every step of the window, with or without a point.
function spread(stats) {
  const points = new Map(stats.points.map((point) => [Date.parse(point.at), point]));
  const slots = [];
  for (let at = Date.parse(stats.from); at <= Date.parse(stats.to); at += stats.step_s * 1000) slots.push({ at, point: points.get(at) });
  return slots;
}

function columns(values, top) {
  const wide = WIDTH / values.length;
  return values.flatMap((of, n) => {
    let floor = HEIGHT;
    return of.map((value, series) => {
      const high = value ? Math.max(((value / top) * (HEIGHT - 4)), 1.5) : 0;
      floor -= high;
      return high ? shape("rect", { class: series ? "lost" : "", x: n * wide, y: floor, width: Math.max(wide * 0.82, 0.8), height: high }) : null;
    }).filter(Boolean);
  });
}

/// A line with its area; where nothing is known it is broken.
function line(values, top) {
  const x = (n) => ((n + 0.5) * WIDTH) / values.length;
  const y = (value) => HEIGHT - 2 - (Math.min(value / top, 1)) * (HEIGHT - 6);
  const runs = [];
  values.forEach(([value], n) => {
    if (value === null) return;
    if (n === 0 || values[n - 1][0] === null) runs.push([]);
    runs.at(-1).push([x(n), y(value)]);
  });
  return runs.flatMap((run) => {
    // One value alone is a short stroke.
    if (run.length === 1) run.push([run[0][0] + WIDTH / values.length / 2, run[0][1]]);
    const path = run.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    return [
      shape("path", { class: "area", d: `${path}L${run.at(-1)[0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z` }),
      shape("path", { class: "stroke", d: path }),
    ];
  });
}
