// Time charts of a link over any span of its history; drag to zoom, double click to zoom out.
import { clock, el, save, tick } from "./dom.js";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#b8860b", "#cc79a7", "#56b4e9"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

export const CHARTS = [
  { title: "Secret key rate", unit: "bit/s", figures: { skr_bps: "net key", sifted_bps: "sifted" } },
  { title: "QBER", unit: "%", scale: 100, figures: { qber_hv: "HV", qber_da: "DA" } },
  { title: "Coincidences", unit: "1/s", figures: { coincidences_hz: "coincidences", accidentals_hz: "accidentals" } },
  { title: "Clock offset", unit: "µs", scale: 1e6, figures: { clock_offset_s: "offset" } },
  { title: "Clock frequency", unit: "ppm", figures: { clock_frequency_ppm: "frequency" } },
  { title: "Classical channel", unit: "bit/s", figures: { channel_bps: "both directions" } },
  { title: "Key and pads in store", unit: "bit", figures: { key_stored_bits: "key", pads_left_bits: "pads" } },
  { title: "Epsilon spent", unit: "", figures: { epsilon: "sum over attempts" } },
];
export const FIGURES = [...new Set(CHARTS.flatMap((chart) => Object.keys(chart.figures)))];

function columns(chart, series) {
  const scale = chart.scale ?? 1;
  const names = Object.keys(chart.figures);
  return [series.t ?? [], ...names.map((name) => (series[name] ?? []).map((v) => (v === null ? null : v * scale)))];
}

export class Chart {
  constructor(chart, zoom) {
    this.chart = chart;
    this.box = el("div", { class: "chart" });
    const buttons = ["PNG", "SVG", "CSV"].map((kind) =>
      el("button", { type: "button", onclick: () => this.export(kind), "aria-label": `${chart.title} as ${kind}` }, kind));
    this.element = el("section", { class: "card", "aria-label": chart.title },
      el("h3", {}, chart.title, el("span", { class: "soft" }, chart.unit ? `[${chart.unit}]` : ""), el("span", { class: "exports" }, ...buttons)),
      this.box);
    this.zoom = zoom;
    this.plot = null;
    this.data = [[]];
  }

  show(series) {
    this.data = columns(this.chart, series);
    if (this.plot) {
      this.plot.setData(this.data);
      return;
    }
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
    const line = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const names = Object.values(this.chart.figures);
    this.plot = new window.uPlot({
      width: Math.max(260, this.box.clientWidth), height: 190,
      cursor: { drag: { x: true, y: false }, sync: { key: "link" } },
      legend: { live: true },
      axes: [axis, { ...axis, size: 62, values: (_, ticks) => ticks.map(tick) }],
      series: [{ value: (_, v) => (v === null ? "–" : clock(v)) }, ...names.map((label, i) => ({
        label, stroke: COLOURS[i % COLOURS.length], dash: DASHES[i % DASHES.length], width: 1.7, spanGaps: false, points: { show: false },
        value: (_, v) => (v === null || v === undefined ? "–" : `${Number(v.toPrecision(4))} ${this.chart.unit}`),
      }))],
      hooks: { setSelect: [(plot) => {
        if (plot.select.width > 5) {
          this.zoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
        }
      }] },
    }, this.data, this.box);
    this.observer = new ResizeObserver(() => {
      const width = Math.max(260, this.box.clientWidth);
      if (Math.abs(width - this.plot.width) > 2) this.plot.setSize({ width, height: 190 });
    });
    this.observer.observe(this.box);
  }

  close() {
    this.observer?.disconnect();
    this.plot?.destroy();
  }

  export(kind) {
    const file = this.chart.title.toLowerCase().replaceAll(" ", "-");
    if (kind === "CSV") return save(`${file}.csv`, this.csv(), "text/csv");
    if (kind === "SVG") return save(`${file}.svg`, this.svg(), "image/svg+xml");
    this.plot?.ctx.canvas.toBlob((blob) => save(`${file}.png`, blob, "image/png"));
  }

  csv() {
    const head = ["time", ...Object.values(this.chart.figures).map((n) => `${n} [${this.chart.unit}]`)].join(",");
    const rows = this.data[0].map((t, i) =>
      [new Date(1000 * t).toISOString(), ...this.data.slice(1).map((column) => column[i] ?? "")].join(","));
    return [head, ...rows].join("\n") + "\n";
  }

  svg() {
    const [t, ...ys] = this.data;
    const flat = ys.flat().filter((v) => v !== null);
    const [t0, t1] = [t[0] ?? 0, t[t.length - 1] ?? 1];
    const [low, high] = [Math.min(0, ...flat), Math.max(1e-12, ...flat)];
    const x = (v) => (60 + (720 * (v - t0)) / (t1 - t0 || 1)).toFixed(1);
    const y = (v) => (260 - (230 * (v - low)) / (high - low || 1)).toFixed(1);
    const root = el("svg", { xmlns: "http://www.w3.org/2000/svg", width: 800, height: 300, viewBox: "0 0 800 300", "font-family": "sans-serif", "font-size": 12 });
    root.append(el("text", { x: 60, y: 18 }, `${this.chart.title} [${this.chart.unit}], ${new Date(1000 * t0).toISOString()} to ${new Date(1000 * t1).toISOString()}`));
    root.append(el("path", { d: "M60 30V260H780", fill: "none", stroke: "#555" }));
    root.append(el("text", { x: 55, y: 264, "text-anchor": "end" }, String(Number(low.toPrecision(3)))), el("text", { x: 55, y: 36, "text-anchor": "end" }, String(Number(high.toPrecision(3)))));
    Object.values(this.chart.figures).forEach((name, i) => {
      const points = t.map((v, k) => [v, ys[i][k]]).filter(([, v]) => v !== null).map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
      root.append(el("polyline", { points, fill: "none", stroke: COLOURS[i], "stroke-width": 1.5, "stroke-dasharray": DASHES[i].join(" ") }));
      root.append(el("text", { x: 70 + 150 * i, y: 285, fill: COLOURS[i] }, name));
    });
    return new XMLSerializer().serializeToString(root);
  }
}
