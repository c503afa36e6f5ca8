// Elements, numbers with units, times in the viewer's zone. Text only: nothing is parsed as HTML.
export function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "rect", "text", "g", "title", "polyline"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A table of many columns; on a narrow screen each row becomes a card. heads: [name, class of its cells].
export function wide(heads, rows, attributes = {}) {
  const cell = (content, i) => {
    const td = content instanceof HTMLTableCellElement ? content : el("td", { class: heads[i][1] }, content);
    td.dataset.name = heads[i][0];
    return td;
  };
  return el("table", { class: "wide", ...attributes },
    el("thead", {}, el("tr", {}, ...heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map(cell)))));
}

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

export function quantity(value, unit, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const per = unit.replace(/^1(?=\/)/, ""); // 23.1 k/s
  for (const [size, prefix] of PREFIXES) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(digits))} ${prefix}${per}`;
  }
  return `${Number(value.toPrecision(digits))} ${per}`.trim();
}

// A tick of an axis: short, and no two of one axis alike.
export function tick(value) {
  if (value && Math.abs(value) < 1e-3) return value.toExponential(1).replace(".0e", "e");
  return quantity(value, "", 4).replace(" ", "\u202f");
}

export const percent = (value) => (Number.isFinite(value) && value !== null ? `${(100 * value).toFixed(1)} %` : "–");
// One formatter each: making one costs more than a whole tile.
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat([], { dateStyle: "short", timeStyle: "medium" });
export const clock = (seconds) => CLOCK.format(1000 * seconds);
export const moment = (seconds) => MOMENT.format(1000 * seconds);

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const SIGNS = { ok: "●", busy: "◐", bad: "▲", off: "○" };

export function spark(values, label) {
  const most = Math.max(1e-9, ...values.map((v) => v ?? 0));
  const step = values.length > 1 ? 100 / (values.length - 1) : 100;
  let pen = "M"; // a minute without a figure is a gap, not zero
  const path = values.map((v, i) => {
    const point = v === null ? "" : `${pen}${(i * step).toFixed(1)} ${(27 - (25 * v) / most).toFixed(1)}${pen === "M" ? "h.1" : ""}`;
    pen = v === null ? "M" : "L";
    return point;
  }).join("");
  return el("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": label },
    el("path", { d: path || "M0 27", fill: "none", stroke: "currentColor", "stroke-width": "1.5", "vector-effect": "non-scaling-stroke" }));
}

export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
