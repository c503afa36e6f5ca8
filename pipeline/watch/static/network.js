// Sites and links as a graph: by coordinates where all sites have them, else by a spring layout that
// gives the same picture every time.
import { el } from "./dom.js";

const WIDTH = 1200;
const HEIGHT = 800;

function byCoordinates(sites) {
  const longitudes = sites.map((s) => s.longitude);
  const latitudes = sites.map((s) => s.latitude);
  const [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
  const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
  const squeeze = Math.cos((((south + north) / 2) * Math.PI) / 180);
  const scale = Math.min((WIDTH - 160) / ((east - west) * squeeze || 1), (HEIGHT - 120) / (north - south || 1));
  return new Map(sites.map((s) => [s.site, { x: WIDTH / 2 + (s.longitude - (west + east) / 2) * squeeze * scale, y: HEIGHT / 2 - (s.latitude - (south + north) / 2) * scale }]));
}

function bySprings(sites, links) {
  const n = sites.length;
  const points = sites.map((_, i) => ({ x: WIDTH / 2 + 350 * Math.cos(2.39996 * i) * Math.sqrt((i + 1) / n), y: HEIGHT / 2 + 300 * Math.sin(2.39996 * i) * Math.sqrt((i + 1) / n) }));
  const at = new Map(sites.map((s, i) => [s.site, i]));
  const length = Math.sqrt((WIDTH * HEIGHT) / Math.max(n, 1)) * 0.75;
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
  return new Map(sites.map((s, i) => [s.site, points[i]]));
}

export function network(graph) {
  if (!graph.sites.length) return el("p", { class: "empty" }, "No link has been heard of yet.");
  const placed = graph.sites.every((s) => Number.isFinite(s.latitude) && Number.isFinite(s.longitude)) && graph.sites.length > 1;
  const at = placed ? byCoordinates(graph.sites) : bySprings(graph.sites, graph.links);
  const svg = el("svg", { class: "net", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "Sites and links" });
  const small = graph.sites.length > 60;
  const loops = new Map();
  for (const link of graph.links) {
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
    svg.append(anchor);
  }
  for (const site of graph.sites) {
    const p = at.get(site.site);
    svg.append(el("g", {}, el("circle", { cx: p.x, cy: p.y, r: small ? 4 : 7 }), el("text", { x: p.x + 9, y: p.y + 4, "font-size": small ? 9 : 12 }, site.site)));
  }
  return svg;
}
