// Sites and links as a graph: by coordinates where all sites have them, else by a spring layout that
// gives the same picture every time. One unit is one pixel, so names have the same size on any screen;
// names never lie on each other: what finds no place is folded until its site is pointed at.
import { el } from "./dom.js";

const ROOM = 11000; // square pixels a site: a picture of many is taller than the window

function byCoordinates(sites, WIDTH, HEIGHT) {
  const longitudes = sites.map((s) => s.longitude);
  const latitudes = sites.map((s) => s.latitude);
  const [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
  const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
  const squeeze = Math.cos((((south + north) / 2) * Math.PI) / 180);
  const scale = Math.min((WIDTH - 160) / ((east - west) * squeeze || 1), (HEIGHT - 120) / (north - south || 1));
  return new Map(sites.map((s) => [s.site, { x: WIDTH / 2 + (s.longitude - (west + east) / 2) * squeeze * scale, y: HEIGHT / 2 - (s.latitude - (south + north) / 2) * scale }]));
}

function bySprings(sites, links, WIDTH, HEIGHT) {
  const n = sites.length;
  const points = sites.map((_, i) => ({ x: WIDTH / 2 + 0.3 * WIDTH * Math.cos(2.39996 * i) * Math.sqrt((i + 1) / n), y: HEIGHT / 2 + 0.38 * HEIGHT * Math.sin(2.39996 * i) * Math.sqrt((i + 1) / n) }));
  const at = new Map(sites.map((s, i) => [s.site, i]));
  const length = Math.sqrt((WIDTH * HEIGHT) / Math.max(n, 1)) * 0.45;
  for (let turn = 0; turn < 150; turn++) {
    const heat = 40 * (1 - turn / 150) + 0.5;
    const push = points.map(() => ({ x: 0, y: 0 }));
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const dx = points[i].x - points[j].x || 0.01;
        const dy = points[i].y - points[j].y || 0.01;
        const force = (length * length) / (dx * dx + dy * dy);
        push[i].x += dx * force; push[i].y += dy * force;
        push[j].x -= dx * force; push[j].y -= dy * force;
      }
    }
    for (const link of links) {
      const [i, j] = [at.get(link.from), at.get(link.to)];
      if (i === j) continue;
      const dx = points[i].x - points[j].x;
      const dy = points[i].y - points[j].y;
      const pull = Math.hypot(dx, dy) / length;
      push[i].x -= dx * pull; push[i].y -= dy * pull;
      push[j].x += dx * pull; push[j].y += dy * pull;
    }
    points.forEach((p, i) => {
      const size = Math.hypot(push[i].x, push[i].y) || 1;
      push[i].x += (WIDTH / 2 - p.x) * 0.12; // a mild pull to the middle holds lone sites
      push[i].y += (HEIGHT / 2 - p.y) * 0.12;
      p.x = Math.min(WIDTH - 60, Math.max(60, p.x + (push[i].x / size) * Math.min(size, heat)));
      p.y = Math.min(HEIGHT - 30, Math.max(30, p.y + (push[i].y / size) * Math.min(size, heat)));
    });
  }
  spread(sites, points, WIDTH, HEIGHT);
  return new Map(sites.map((s, i) => [s.site, points[i]]));
}

// Moves sites apart until each has room for its name, as far as there is room.
function spread(sites, points, WIDTH, HEIGHT) {
  const widths = sites.map((s) => 7 * s.site.length + 22);
  for (let turn = 0; turn < 250; turn++) {
    let moved = false;
    for (let i = 0; i < points.length; i++) {
      for (let j = i + 1; j < points.length; j++) {
        const [a, b] = [points[i], points[j]];
        const across = (widths[i] + widths[j]) / 2 - Math.abs(a.x - b.x);
        const down = 24 - Math.abs(a.y - b.y);
        if (across <= 0 || down <= 0) continue;
        moved = true;
        const [axis, by] = across / 3 < down ? ["x", across] : ["y", down];
        const sign = a[axis] < b[axis] ? 1 : -1;
        a[axis] -= (sign * by) / 4;
        b[axis] += (sign * by) / 4;
      }
    }
    for (const p of points) {
      p.x = Math.min(WIDTH - 40, Math.max(40, p.x));
      p.y = Math.min(HEIGHT - 20, Math.max(20, p.y));
    }
    if (!moved) break;
  }
}

// Where a name may stand beside its site: [of its width, of its height] from the site.
const BESIDE = [[0, 0.35, "start"], [0, 0.35, "end"], [0, -0.75, "middle"], [0, 1.45, "middle"],
  [0, -0.4, "start"], [0, 1.1, "start"], [0, -0.4, "end"], [0, 1.1, "end"]];

function boxOf(p, width, size, gap, [, down, anchor]) {
  const x = anchor === "start" ? p.x + gap : anchor === "end" ? p.x - gap : p.x;
  const left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
  const y = p.y + down * size;
  return { x, y, anchor, left: left - 2, right: left + width + 2, top: y - 1.05 * size, bottom: y + 0.4 * size };
}

const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;

// Whether a link's line runs through a box.
function crosses([a, b], box) {
  let [from, to] = [0, 1];
  for (const [start, step, low, high] of [[a.x, b.x - a.x, box.left, box.right], [a.y, b.y - a.y, box.top, box.bottom]]) {
    if (Math.abs(step) < 1e-9) {
      if (start < low || start > high) return false;
      continue;
    }
    const [one, other] = [(low - start) / step, (high - start) / step];
    from = Math.max(from, Math.min(one, other));
    to = Math.min(to, Math.max(one, other));
  }
  return from < to;
}

// Site → where its name stands, or null where it is folded. Those with most links choose first.
function names(sites, lines, at, degree, size, radius, width, height) {
  const taken = sites.map((s) => { const p = at.get(s.site); return { of: s.site, left: p.x - radius, right: p.x + radius, top: p.y - radius, bottom: p.y + radius }; });
  const found = new Map();
  for (const site of [...sites].sort((a, b) => degree.get(b.site) - degree.get(a.site) || (a.site < b.site ? -1 : 1))) {
    const wide = 0.62 * size * site.site.length;
    const cost = (box) => lines.filter((line) => crosses(line, box)).length;
    const [free] = BESIDE.map((side) => boxOf(at.get(site.site), wide, size, radius + 3, side)).filter((box) =>
      box.left > 0 && box.right < width && box.top > 0 && box.bottom < height && taken.every((other) => other.of === site.site || apart(box, other)))
      .map((box) => [box, cost(box)]).sort((a, b) => a[1] - b[1]).map(([box]) => box);
    if (free) taken.push(free);
    found.set(site.site, free ?? null);
  }
  return found;
}

function edge(link, at, loops) {
  const [a, b] = [at.get(link.from), at.get(link.to)];
  const loop = link.from === link.to;
  const nth = loop ? (loops.get(link.from) ?? 0) : 0;
  if (loop) loops.set(link.from, nth + 1);
  const shape = loop ? el("circle", { cx: a.x, cy: a.y - 14 - 4 * nth, r: 12 + 4 * nth, fill: "none", stroke: "var(--level)", "stroke-width": 2.5 })
    : el("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y });
  const anchor = document.createElementNS("http://www.w3.org/2000/svg", "a");
  anchor.setAttribute("href", `#/link/${encodeURIComponent(link.key)}`);
  anchor.setAttribute("class", link.level);
  anchor.setAttribute("aria-label", `${link.key}: ${link.words}`);
  if (loop) shape.style.fill = "none";
  shape.setAttribute("class", link.level);
  anchor.append(el("title", {}, `${link.key}: ${link.words}`), shape);
  return anchor;
}

export function network(graph, room) {
  if (!graph.sites.length) return el("p", { class: "empty" }, "No link has been heard of yet.");
  const width = Math.max(300, room.width);
  const height = Math.min(5000, Math.max(360, room.height, (ROOM * graph.sites.length) / width));
  const placed = graph.sites.every((s) => Number.isFinite(s.latitude) && Number.isFinite(s.longitude)) && graph.sites.length > 1;
  const at = placed ? byCoordinates(graph.sites, width, height) : bySprings(graph.sites, graph.links, width, height);
  const many = graph.sites.length > 60 || width < 500;
  const [size, radius] = many ? [11, 4] : [13, 7];
  const neighbours = new Map(graph.sites.map((s) => [s.site, new Set()]));
  for (const link of graph.links) {
    if (link.from === link.to) continue;
    neighbours.get(link.from).add(link.to);
    neighbours.get(link.to).add(link.from);
  }
  const degree = new Map([...neighbours].map(([site, others]) => [site, others.size]));
  const svg = el("svg", { class: "net", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Sites and links" });
  const loops = new Map();
  for (const link of graph.links) svg.append(edge(link, at, loops));
  // beside a line if there is room for that; of many sites names take the first place that is free
  const lines = graph.links.filter((l) => !many && l.from !== l.to).map((l) => [at.get(l.from), at.get(l.to)]);
  const where = names(graph.sites, lines, at, degree, size, radius + 2, width, height);
  let folded = 0;
  for (const site of graph.sites) {
    const p = at.get(site.site);
    const relay = degree.get(site.site) > 1;
    let box = where.get(site.site);
    if (!box) {
      folded += 1;
      const end = p.x > width / 2;
      box = { x: p.x + (end ? -radius - 3 : radius + 3), y: p.y + 4, anchor: end ? "end" : "start", folded: true };
    }
    svg.append(el("g", { class: `site${box.folded ? " folded" : ""}${relay ? " relay" : ""}` },
      el("title", {}, relay ? `${site.site}: relay of ${degree.get(site.site)} sites` : site.site),
      relay ? el("rect", { x: p.x - radius, y: p.y - radius, width: 2 * radius, height: 2 * radius, rx: 1.5 }) : el("circle", { cx: p.x, cy: p.y, r: radius }),
      el("text", { x: box.x, y: box.y, "font-size": size, "text-anchor": box.anchor }, site.site)));
  }
  const said = [`${graph.sites.length} sites, ${graph.links.length} links`, "■ relay, ● end"];
  if (folded) said.push(`${folded} names folded: point at a site to read it`);
  return el("div", {}, el("p", { class: "soft", id: "net-legend" }, said.join(" · ")), svg);
}
