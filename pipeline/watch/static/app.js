// The page: one event stream in, one view at a time out. State is kept here, nowhere else.
import { CHARTS, Chart, FIGURES } from "./charts.js";
import { SIGNS, ago, clock, el, moment, percent, quantity, spark, wide } from "./dom.js";
import { network } from "./network.js";

const main = document.getElementById("main");
const state = { links: new Map(), now: 0, skew: 0, filter: "", span: 3600, range: null, view: null, detail: null };
let source = null;
let dirty = false;

// ---- the event stream ----

function listen(link) {
  source?.close();
  source = new EventSource(`/events?link=${encodeURIComponent(link)}`);
  source.addEventListener("snapshot", (event) => {
    state.links.clear();
    take(JSON.parse(event.data));
  });
  source.addEventListener("tiles", (event) => take(JSON.parse(event.data)));
  source.addEventListener("detail", (event) => {
    state.detail = JSON.parse(event.data);
    draw();
  });
  source.onerror = () => said("disconnected from watch; trying again", true);
}

function take(message) {
  state.now = message.now;
  state.skew = Date.now() / 1000 - message.now;
  for (const link of message.links) {
    link.spark ??= state.links.get(link.key)?.spark ?? [];
    state.links.set(link.key, link);
  }
  const trouble = [];
  if (message.trouble) trouble.push(`Broker: ${message.trouble}. What is shown is what was last heard.`);
  if (message.history) trouble.push(`History is not written: ${message.history}.`);
  if (message.history_damaged) trouble.push(`History is kept in memory only: ${message.history_damaged}`);
  if (message.refused_elsewhere) trouble.push(`Messages refused from ${message.refused_elsewhere}.`);
  const banner = document.getElementById("banner");
  banner.textContent = trouble.join(" ");
  banner.hidden = trouble.length === 0;
  said(`live, ${moment(message.now)}`, false);
  const alarms = [...state.links.values()].reduce((sum, link) => sum + link.alarms, 0);
  const count = document.getElementById("alarm-count");
  if (count.textContent !== String(alarms || "")) count.textContent = alarms || "";
  draw();
}

function said(text, lost) {
  const live = document.getElementById("live");
  live.textContent = text;
  live.classList.toggle("lost", lost);
}

// Work on the document is done once a frame, however many messages came.
function draw() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(() => {
    dirty = false;
    state.view?.update();
  });
}

// ---- first screen ----

const RANK = { bad: 0, busy: 1, off: 2, ok: 3 };

class LinksView {
  constructor() {
    this.tiles = new Map();
    this.list = el("ul", { class: "tiles", "aria-label": "Links" });
    this.empty = el("p", { class: "empty" }, "No link has been heard of yet.");
    this.filter = el("input", { type: "search", id: "filter", placeholder: "Filter (/)", "aria-label": "Filter links", value: state.filter,
      oninput: () => { state.filter = this.filter.value.toLowerCase(); this.update(); } });
    this.summary = el("span", { class: "soft", role: "status" });
    main.replaceChildren(el("h2", { class: "hidden" }, "Links"), el("div", { class: "tools" }, this.filter, this.summary), this.empty, this.list);
    this.update();
  }

  update() {
    const links = [...state.links.values()];
    const wanted = state.filter ? links.filter((link) => `${link.key} ${link.sites.join(" ")} ${link.words}`.toLowerCase().includes(state.filter)) : links.slice();
    wanted.sort((a, b) => RANK[a.level] - RANK[b.level] || (a.key < b.key ? -1 : 1));
    const making = links.filter((link) => link.level === "ok").length;
    const summary = links.length ? `${making} of ${links.length} links make key` : "";
    if (this.summary.textContent !== summary) this.summary.textContent = summary;
    this.empty.hidden = links.length > 0;
    const order = wanted.map((link) => {
      let tile = this.tiles.get(link.key);
      if (!tile) this.tiles.set(link.key, (tile = new Tile(link.key)));
      tile.show(link);
      return tile.node;
    });
    order.forEach((node, i) => {
      if (this.list.children[i] !== node) this.list.insertBefore(node, this.list.children[i] ?? null);
    });
    while (this.list.children.length > order.length) this.list.lastChild.remove();
  }
}

// One link of the first screen. Made once; only what has changed is written.
class Tile {
  constructor(key) {
    this.level = el("span", { class: "level", "aria-hidden": "true" });
    this.badge = el("span", { class: "badge" });
    this.words = el("div", { class: "words" });
    this.figures = ["key rate", "QBER", "key in store"].map((name) => [name, el("dd", {})]);
    this.notes = el("div", { class: "soft" });
    this.spark = el("div", {});
    this.link = el("a", { class: "tile", href: `#/link/${encodeURIComponent(key)}` },
      el("div", { class: "top" }, this.level, el("span", { class: "name" }, key), this.badge), this.words,
      el("dl", { class: "figures" }, ...this.figures.map(([name, dd]) => el("div", {}, el("dt", {}, name), dd))), this.notes, this.spark);
    this.node = el("li", {}, this.link);
    this.shown = null;
  }

  show(link) {
    if (this.shown === link) return;
    const sparked = this.shown?.spark;
    this.shown = link;
    write(this.level, SIGNS[link.level]);
    if (this.link.className !== `tile ${link.level}`) this.link.className = `tile ${link.level}`;
    write(this.badge, link.emulated ? "EMULATED" : "real");
    this.badge.className = `badge ${link.emulated ? "emulated" : "real"}`;
    write(this.words, link.words + (link.since ? ` since ${since_words(link.since)}` : ""));
    const values = [quantity(link.skr_bps, "bit/s"), percent(link.qber), quantity(link.buffer_bits, "bit")];
    this.figures.forEach(([, dd], i) => write(dd, values[i]));
    const notes = [];
    if (link.alarms) notes.push(`▲ ${link.alarms} alarm${link.alarms > 1 ? "s" : ""}`);
    if (link.clock_off_s) notes.push(`clock of a node is off by ${ago(Math.abs(link.clock_off_s))}`);
    if (link.refused) notes.push(`${link.refused} messages refused`);
    write(this.notes, notes.join(" · "));
    if (sparked !== link.spark) this.spark.replaceChildren(spark(link.spark, "key rate of the last hour"));
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const since_words = (seconds) => (state.now - seconds < 86400 ? clock(seconds) : moment(seconds));
const badge = (emulated) => el("span", { class: `badge ${emulated ? "emulated" : "real"}` }, emulated ? "EMULATED" : "real");
const figure = (name, value) => [el("div", {}, el("dt", {}, name), el("dd", {}, value))];

// ---- one link ----

class LinkView {
  constructor(key) {
    this.key = key;
    state.detail = null;
    listen(key);
    this.head = el("div", {});
    this.ends = el("div", { class: "cards" });
    this.blocks = el("div", { class: "scroll" });
    this.alarms = el("div", {});
    this.charts = CHARTS.map((chart) => new Chart(chart, (from, to) => this.zoom(from, to)));
    this.spans = el("div", { class: "tools", role: "group", "aria-label": "Span of time" },
      ...[["hour", 3600], ["day", 86400], ["month", 31 * 86400], ["year", 366 * 86400]].map(([name, span]) =>
        el("button", { type: "button", "data-span": span, onclick: () => this.span(span) }, name)),
      el("button", { type: "button", onclick: () => this.shift(-0.5) }, "← earlier"),
      el("button", { type: "button", onclick: () => this.shift(0.5) }, "later →"));
    this.shown = el("span", { class: "soft", role: "status" });
    this.spans.append(this.shown);
    main.replaceChildren(this.head, this.alarms, this.spans, el("div", { class: "cards" }, ...this.charts.map((c) => c.element)),
      el("h2", {}, "Ends"), this.ends, el("h2", {}, "Blocks"), this.blocks);
    this.timer = setInterval(() => { if (!state.range) this.load(); }, 5000);
    this.load();
    this.update();
  }

  close() {
    clearInterval(this.timer);
    for (const chart of this.charts) chart.close();
    state.range = null;
  }

  span(seconds) { state.span = seconds; state.range = null; this.load(); }
  zoom(from, to) { state.range = [from, to]; this.load(); }

  shift(part) {
    const [from, to] = this.range();
    const by = part * (to - from);
    const end = Math.min(to + by, state.now || Date.now() / 1000);
    state.range = [end - (to - from), end];
    this.load();
  }

  range() {
    const now = state.now || Date.now() / 1000;
    return state.range ?? [now - state.span, now];
  }

  async load() {
    const link = state.detail;
    const node = link?.ends.find((end) => end.role === "alice") ?? link?.ends[0];
    if (!node) return;
    const [since, until] = this.range();
    const query = new URLSearchParams({ node: node.id, figures: FIGURES.join(","), since, until });
    try {
      const answer = await fetch(`/api/history?${query}`);
      if (!answer.ok) throw new Error(await answer.text());
      const series = await answer.json();
      for (const chart of this.charts) chart.show(series);
      this.shown.textContent = `${moment(since)} – ${moment(until)}${state.range ? "" : ", live"}`;
    } catch (error) {
      this.shown.textContent = `no history: ${error.message}`;
    }
  }

  update() {
    const link = state.detail;
    if (!link || link.key !== this.key) {
      this.head.replaceChildren(el("p", { class: "empty" }, `Waiting for ${this.key} …`));
      return;
    }
    if (!this.loaded) { this.loaded = true; this.load(); }
    this.head.replaceChildren(el("div", { class: `${link.level}` },
      el("h2", {}, el("span", { class: "level", "aria-hidden": "true" }, SIGNS[link.level] + " "), link.key, " ", badge(link.emulated)),
      el("p", { class: "words" }, link.words + (link.since ? ` since ${since_words(link.since)}` : "")),
      el("dl", { class: "figures" }, ...figure("key rate", quantity(link.skr_bps, "bit/s")), ...figure("QBER", percent(link.qber)),
        ...figure("key in store", quantity(link.buffer_bits, "bit")), ...figure("last heard", `${ago(Math.max(0, state.now - link.seen_s))} ago`))));
    const alarms = link.ends.flatMap((end) => end.alarms.map((alarm) => ({ ...alarm, node: end.node })));
    this.alarms.replaceChildren(...alarms.map((a) => el("p", { class: "bad" }, el("strong", { class: "level" }, `▲ ${a.code}`), ` ${a.node}: ${a.text ?? ""} `, el("span", { class: "soft" }, a.action ?? ""))));
    this.ends.replaceChildren(...link.ends.map(end));
    const blocks = (link.ends.find((e) => e.role === "alice") ?? link.ends[0]).blocks.slice().reverse();
    this.blocks.replaceChildren(blocks.length ? blockTable(blocks) : el("p", { class: "empty" }, "No block yet."));
  }
}

function perDetection(s) {
  const clicks = ["h", "v", "d", "a"].reduce((sum, d) => sum + (s[`rate_${d}_hz`] ?? 0), 0);
  return s.channel_bps && clicks > 0 ? quantity(s.channel_bps / clicks, "bit") : "–";
}

// To the nanosecond, with as few digits before the point as that allows.
function offset(seconds) {
  if (!Number.isFinite(seconds) || seconds === null) return "–";
  return Math.abs(seconds) < 1e-3 ? `${(1e6 * seconds).toFixed(3)} µs` : `${(1e3 * seconds).toFixed(6)} ms`;
}

function end(e) {
  const s = e.state;
  const rates = ["h", "v", "d", "a"].map((d) => figure(d.toUpperCase(), quantity(s[`rate_${d}_hz`], "1/s"))[0]);
  const rows = [
    ["phase", s.phase ?? "–"], ["coincidences", quantity(s.coincidences_hz, "1/s")], ["accidentals", quantity(s.accidentals_hz, "1/s")],
    ["QBER HV, DA", `${percent(s.qber_hv)}, ${percent(s.qber_da)}`], ["sifted", quantity(s.sifted_bps, "bit/s")],
    ["clock offset", offset(s.clock_offset_s)], ["clock frequency", Number.isFinite(s.clock_frequency_ppm) && s.clock_frequency_ppm !== null ? `${s.clock_frequency_ppm.toFixed(4)} ppm` : "–"],
    ["classical channel", quantity(s.channel_bps, "bit/s")], ["classical bits per detection", perDetection(s)], ["classical bits per sifted bit", s.channel_bps && s.sifted_bps ? Number((s.channel_bps / s.sifted_bps).toPrecision(3)).toString() : "–"],
    ["epsilon spent", Number.isFinite(s.epsilon) ? Number(s.epsilon).toExponential(1) : "–"], ["pads left", `${quantity(s.pads_left_bits, "bit")}${Number.isFinite(s.pads_days) && s.pads_days !== null ? `, ${s.pads_days.toFixed(1)} days` : ""}`],
    ["calibration valid for", Number.isFinite(s.calibration_left_s) && s.calibration_left_s !== null ? ago(s.calibration_left_s) : "–"], ["assumptions of this link", s.assumptions || "none of its own"],
  ];
  const instruments = e.instruments.map((i) => [i.name, i.driver ?? "", badge(i.provenance !== "real"), i.state ?? "", i.last_error ?? ""]);
  return el("section", { class: "card", "aria-label": e.id },
    el("h3", {}, `${e.role || "?"} `, el("span", { class: "soft" }, e.id), el("span", { class: "soft" }, e.live ? "online" : `${e.status}, not heard of lately`)),
    Math.abs(e.skew_s) > 30 ? el("p", { class: "bad" }, el("span", { class: "level" }, `▲ its clock is ${ago(Math.abs(e.skew_s))} ${e.skew_s > 0 ? "ahead" : "behind"}`)) : null,
    e.refused ? el("p", { class: "bad" }, el("span", { class: "level" }, `▲ ${e.refused} messages refused: ${e.refused_why}`)) : null,
    el("h4", { class: "soft" }, "clicks per second (from disclosed events while key is made)"), el("dl", { class: "figures" }, ...rates),
    el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows.map(([n, v]) => el("tr", {}, el("th", { scope: "row" }, n), el("td", { class: "n" }, v)))))),
    histogram(e.histogram),
    readiness(e.readiness),
    instruments.length ? el("div", { class: "scroll" }, wide([["instrument"], ["driver"], ["is"], ["state"], ["last error"]], instruments, { "aria-label": `instruments of ${e.id}` })) : null);
}

function histogram(h) {
  if (!h || !Array.isArray(h.counts) || !h.counts.length) return null;
  const most = Math.max(1, ...h.counts);
  const step = 300 / h.counts.length;
  const bars = h.counts.map((n, i) => `M${(i * step).toFixed(1)} 80V${(80 - (76 * n) / most).toFixed(1)}`).join("");
  const half = (h.counts.length * (h.bin_ps ?? 1)) / 2;
  const x = (ps) => 150 + (150 * ps) / half;
  const window_ps = h.window_ps ?? 0;
  return el("figure", {}, el("svg", { viewBox: "0 0 300 84", role: "img", "aria-label": "coincidence histogram" },
    el("path", { d: bars, stroke: "currentColor", "stroke-width": Math.max(0.6, step * 0.8) }),
    el("line", { x1: x(-window_ps), x2: x(-window_ps), y1: 0, y2: 80, stroke: "#d55e00" }), el("line", { x1: x(window_ps), x2: x(window_ps), y1: 0, y2: 80, stroke: "#d55e00" })),
  el("figcaption", { class: "soft" }, `${quantity(h.pairs, "")} coincidences ${h.source === "alignment" ? "in alignment" : "of disclosed pairs"}, ±${Number((half / 1000).toPrecision(3))} ns, window ±${Number((window_ps / 1000).toPrecision(3))} ns`));
}

function readiness(r) {
  if (!r || !Array.isArray(r.tasks) || !r.tasks.length) return null;
  return el("p", {}, r.ready ? "● ready" : "▲ not ready: ", ...(r.ready ? [] : [r.tasks.join(", ")]));
}

function blockTable(blocks) {
  const columns = [["block", (b) => b.block], ["sifted", (b) => quantity(b.sifted_bits, "bit")], ["QBER HV", (b) => percent(b.qber_hv)], ["QBER DA", (b) => percent(b.qber_da)],
    ["leak", (b) => quantity(b.leak_bits, "bit")], ["f", (b) => (b.f_ec ? b.f_ec.toFixed(3) : "–")], ["net key", (b) => quantity(b.net_bits, "bit")], ["epsilon", (b) => (b.epsilon ? b.epsilon.toExponential(1) : "–")]];
  const heads = [["time"], ...columns.map(([name]) => [name, "n"]), ["no key because"]];
  return wide(heads, blocks.map((b) => [moment(b.ts), ...columns.map(([, f]) => String(f(b) ?? "–")), b.abort ?? ""]));
}

// ---- alarms, log, network ----

class AlarmsView {
  constructor() {
    this.box = el("div", { class: "scroll" });
    main.replaceChildren(el("h2", {}, "Alarms"), this.box);
    this.timer = setInterval(() => this.load(), 2000);
    this.load();
  }

  close() { clearInterval(this.timer); }
  update() {}

  async load(request = fetch("/api/alarms")) {
    const answer = await request;
    if (answer.ok) this.show(await answer.json());
  }

  note(alarm, what, hours = 0) {
    this.load(fetch("/api/note", { method: "POST", headers: { "Content-Type": "application/json", "X-Photonlink": "1" }, body: JSON.stringify({ alarm, what, hours }) }));
  }

  show(alarms) {
    const text = JSON.stringify(alarms);
    if (text === this.last) return;
    this.last = text;
    if (!alarms.length) return this.box.replaceChildren(el("p", { class: "empty" }, "No alarm holds."));
    const heads = ["since", "severity", "link", "node", "alarm", "what it is", "cause", "what to do", "note", "actions"].map((h) => [h]);
    this.box.replaceChildren(wide(heads, alarms.map((a) => [
      moment(a.since_ts ?? a.ts),
      el("td", { class: a.severity === "major" ? "bad" : "busy" }, el("span", { class: "level" }, `${a.severity === "major" ? "▲" : "◐"} ${a.severity ?? ""}`)),
      el("a", { href: `#/link/${encodeURIComponent(a.link)}` }, a.link), a.node, a.code,
      `${a.text ?? ""}${a.raised_in_a_day > 1 ? ` (raised ${a.raised_in_a_day} times in a day)` : ""}`, a.cause ?? "", a.action ?? "",
      a.note ? `${a.note.what === "ack" ? "acknowledged" : `shelved until ${moment(a.note.until)}`} by ${a.note.who}` : "",
      a.note ? el("button", { type: "button", onclick: () => this.note(a.id, "undo") }, "Take back") : el("span", {},
        el("button", { type: "button", onclick: () => this.note(a.id, "ack") }, "Acknowledge"), " ", el("button", { type: "button", onclick: () => this.note(a.id, "shelve", 8) }, "Shelve 8 h")),
    ])));
  }
}

class LogView {
  constructor() {
    this.box = el("div", { class: "scroll" });
    main.replaceChildren(el("h2", {}, "Log of the last day"), this.box);
    this.timer = setInterval(() => this.load(), 5000);
    this.load();
  }

  close() { clearInterval(this.timer); }
  update() {}

  async load() {
    const answer = await fetch(`/api/log?since=${Math.max(0, Date.now() / 1000 - state.skew - 86400)}`);
    if (!answer.ok) return;
    const events = await answer.json();
    const words = (e) => (e.kind === "block" ? (e.body.abort ? `no key: ${e.body.abort}` : `${quantity(e.body.net_bits, "bit")} of key`) : e.kind === "node" ? e.body.status : `${e.code}: ${e.body.text ?? ""}`);
    this.box.replaceChildren(events.length ? wide([["time"], ["node"], ["event"], ["what"]], events.map((e) => [moment(e.t), `${e.site}/${e.node}`, e.kind, words(e)]))
      : el("p", { class: "empty" }, "Nothing happened."));
  }
}

class NetworkView {
  constructor() {
    this.box = el("div", {});
    main.replaceChildren(el("h2", {}, "Network"), this.box);
    this.timer = setInterval(() => this.load(), 3000);
    this.resized = () => this.paint();
    addEventListener("resize", this.resized);
    this.load();
  }

  close() {
    clearInterval(this.timer);
    removeEventListener("resize", this.resized);
  }

  update() {}

  async load() {
    const answer = await fetch("/api/graph");
    if (!answer.ok) return;
    const text = await answer.text();
    if (text === this.last) return;
    this.last = text;
    this.graph = JSON.parse(text);
    this.paint();
  }

  paint() {
    const room = { width: this.box.clientWidth, height: Math.round(0.72 * innerHeight) };
    if (this.graph) this.box.replaceChildren(network(this.graph, room));
  }
}

// ---- routes, keys, theme ----

function route() {
  const hash = location.hash.slice(1) || "/";
  state.view?.close?.();
  if (state.view instanceof LinkView && !hash.startsWith("/link/")) listen("");
  const name = hash.startsWith("/link/") ? "link" : hash === "/" ? "links" : hash.slice(1);
  for (const a of document.querySelectorAll("nav a")) a.toggleAttribute("aria-current", a.dataset.view === name || (name === "link" && a.dataset.view === "links"));
  for (const a of document.querySelectorAll("nav a[aria-current]")) a.setAttribute("aria-current", "page");
  const views = { alarms: AlarmsView, network: NetworkView, log: LogView };
  state.view = name === "link" ? new LinkView(decodeURIComponent(hash.slice(6))) : new (views[name] ?? LinksView)();
  document.title = name === "link" ? `${decodeURIComponent(hash.slice(6))} – photonlink watch` : "photonlink watch";
}

function step(by) {
  const tiles = [...document.querySelectorAll("a.tile")];
  const at = tiles.indexOf(document.activeElement);
  tiles[Math.min(tiles.length - 1, Math.max(0, at + by))]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const spans = { 1: 3600, 2: 86400, 3: 31 * 86400, 4: 366 * 86400 };
  const keys = { l: () => { location.hash = "/"; }, a: () => { location.hash = "/alarms"; }, n: () => { location.hash = "/network"; }, o: () => { location.hash = "/log"; },
    j: () => step(1), k: () => step(-1), t: theme, "?": () => document.getElementById("keys").showModal(), "/": () => document.getElementById("filter")?.focus(),
    Escape: () => { if (!document.getElementById("keys").open) location.hash = "/"; } };
  if (event.key in spans && state.view instanceof LinkView) state.view.span(spans[event.key]);
  else if (event.key in keys) keys[event.key]();
  else return;
  if (event.key !== "Escape") event.preventDefault();
});

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  if (state.view instanceof LinkView) route();
}

const kept = localStorage.getItem("theme");
if (kept) document.documentElement.dataset.theme = kept;
document.getElementById("theme").addEventListener("click", theme);
document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());
addEventListener("hashchange", route);
listen("");
route();
