// One small drawing for each queue; shapes only, so that they take the text's colour.

import { shape } from "./words.js";

const SHAPES = {
  video: "M3.500 5h17v14h-17zM10 9.200v5.600l4.800-2.800z",
  audio: "M4 10v4M8 7v10M12 4.500v15M16 8v8M20 10.500v3",
  image: "M3.500 5h17v14h-17zM3.500 16l5-5 4.500 4.500 3-3 4.500 4.500M15.500 9h.01",
  document: "M6 3.500h8l4.500 4.500v12.500H6zM14 3.500V8h4.500M9 12.500h6.500M9 16h6.500",
  archive: "M4 8.500h16v11H4zM3 4.500h18v4H3zM10 12.500h4",
  cleanup: "M14.500 3.500 11 11M7 11h8l1.500 9h-12zM9 16v4M12.500 16v4",
  pause: "M9 6.500v11M15 6.500v11",
  resume: "M8.500 6v12l9.500-6z",
  default: "M4 7h16M4 12h16M4 17h10",
};

export function icon(name) {
  const drawing = shape("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  drawing.append(shape("path", { d: SHAPES[name] || SHAPES.default }));
  return drawing;
}
