// The timeline: state, mouse and keyboard; `mount` puts it into any element, the default export into a notebook.

import { above, decode, makeLane, markedLanes, nextMarked, placeOf, search, showTime, unpack } from "./model.js";
import { boxOf, colours, layout, paintArrow, paintFrame, paintMarks, paintOutline, paintOverview, paintRows, paintRuler, prepare } from "./paint.js";
import { pointing, typing } from "./input.js";
import { element, handsOn, helpBox, legend, showDetails, sourcePane } from "./panel.js";

const RULER = 24;
const OVERVIEW = 40;
const LEAST_HEIGHT = 520; // px
const CLOSEST = 5; // ns: the least that the whole width may show
const MOST_ARROWS = 40;

/** Put a timeline of `data` (schema nkilab.timeline/1) into `host`; gives its controls. Options: height, scheme, onChange. */
export function mount(host, data, options = {}) {
  const timeline = new Timeline(host, decode(data), options);
  host.timeline = timeline;
  return timeline;
}

class Timeline {
  constructor(host, model, { height = 560, scheme = "auto", onChange = () => {} }) {
    Object.assign(this, { host, model, onChange, schemeWanted: scheme });
    this.view = { t0: 0, t1: model.end, width: 100, height: 100, top: 0, scale: 1 };
    Object.assign(this, { selected: -1, hovered: -1, line: -1, marks: [], marked: null, pointer: null, folded: foldedAtFirst(model) });
    this.build(height);
    this.listen();
    this.resize();
    this.fit();
    this.select(-1);
  }

  // ---- the page ----

  build(height) {
    const button = (text, label, act) => element("button", { type: "button", "aria-label": label, title: label, click: act }, text);
    this.find = element("input", { type: "search", placeholder: "Search names, lines, …", "aria-label": "Search spans", input: () => this.search(this.find.value) });
    this.hits = element("span", { class: "nkt-count", role: "status" });
    this.colourBy = element("select", { "aria-label": "Colour spans by", change: () => this.recolour(this.colourBy.value) }, ...["engine", "operation", "source line"].map((name) => element("option", { value: name }, `Colour: ${name}`)));
    const bar = element(
      "div",
      { class: "nkt-bar-top", role: "toolbar", "aria-label": "Timeline" },
      element("strong", { class: "nkt-title" }, this.model.title || "Timeline"),
      this.find,
      this.hits,
      button("↑", "Previous hit", () => this.step(-1)),
      button("↓", "Next hit", () => this.step(1)),
      element("span", { class: "nkt-space" }),
      this.colourBy,
      button("−", "Zoom out", () => this.zoom(1.6)),
      button("+", "Zoom in", () => this.zoom(1 / 1.6)),
      button("Fit", "Show the whole run", () => this.fit()),
      button("Mark", "Set a mark; two marks measure", () => this.mark()),
      button("◐", "Switch between light and dark", () => this.setScheme(this.root.dataset.scheme === "dark" ? "light" : "dark")),
      button("?", "Keys", () => this.toggleHelp()),
    );
    this.overview = element("canvas", { class: "nkt-overview", "aria-hidden": "true" });
    this.ruler = element("canvas", { class: "nkt-ruler", "aria-hidden": "true" });
    this.canvas = element("canvas", { class: "nkt-canvas", tabindex: "0", role: "application", "aria-label": this.description() });
    this.over = element("canvas", { class: "nkt-over", "aria-hidden": "true" });
    this.names = element("div", { class: "nkt-names" });
    this.tip = element("div", { class: "nkt-tip", role: "tooltip", hidden: true });
    this.pane = element("div", { class: "nkt-pane" }, this.canvas, this.over);
    this.scroller = element("div", { class: "nkt-scroll" }, this.names, element("div", { class: "nkt-stage" }, this.pane));
    this.status = element("div", { class: "nkt-status", role: "status", "aria-live": "polite" });
    this.legend = legend(this.model);
    this.details = element("section", { class: "nkt-details", "aria-label": "Selected span" });
    this.source = sourcePane(this.model, (line) => this.selectLine(line));
    this.help = helpBox(() => this.toggleHelp());
    const chart = element("div", { class: "nkt-chart" }, this.overview, this.ruler, this.scroller, element("div", { class: "nkt-foot" }, this.status, this.legend), this.tip);
    const grip = element("div", { class: "nkt-grip", role: "separator", "aria-orientation": "vertical", "aria-label": "Width of the side panel" });
    const side = element("aside", { class: "nkt-side" }, this.details, this.source.pane);
    const needed = layout(this.model.tracks, this.folded).height + RULER + OVERVIEW + 60;
    const tall = Math.min(height, Math.max(LEAST_HEIGHT, needed));
    this.root = element("div", { class: "nkt", style: `--nkt-height:${tall}px` }, bar, element("div", { class: "nkt-main" }, chart, grip, side), this.help);
    dragWidth(grip, side, () => this.resize());
    this.host.replaceChildren(this.root);
    this.applyScheme();
  }

  description() {
    const { count, tracks, end } = this.model;
    return `Timeline: ${count} spans in ${tracks.length} tracks over ${showTime(end)}. Arrow keys pan, plus and minus zoom, comma and period step through spans, question mark lists all keys.`;
  }

  setScheme(scheme) {
    this.schemeWanted = scheme;
    this.applyScheme();
    this.paint();
  }

  applyScheme() {
    const wanted = this.schemeWanted;
    this.root.dataset.scheme = wanted === "light" || wanted === "dark" ? wanted : darkPage() ? "dark" : "light";
    this.colour = colours(this.root, this.model.classes);
  }

  listen() {
    this.gone = new AbortController();
    const on = (target, type, act, more = {}) => target.addEventListener(type, act, { signal: this.gone.signal, ...more });
    on(this.scroller, "scroll", () => this.scrolled());
    on(this.canvas, "wheel", (event) => this.wheel(event), { passive: false });
    on(this.canvas, "pointerdown", (event) => this.press(event));
    on(this.canvas, "pointermove", (event) => this.hover(event));
    on(this.canvas, "pointerleave", () => this.leave());
    on(this.canvas, "dblclick", () => this.zoomToSelected());
    on(this.ruler, "pointerdown", (event) => this.dragRange(event, this.ruler));
    on(this.overview, "pointerdown", (event) => this.dragOverview(event));
    on(this.root, "keydown", (event) => this.key(event));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.setScheme(this.schemeWanted));
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.scroller);
    this.theme = new MutationObserver(() => this.setScheme(this.schemeWanted));
    this.theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  }

  destroy() {
    this.gone.abort();
    this.watch.disconnect();
    this.theme.disconnect();
    this.host.replaceChildren();
  }

  resize() {
    this.refold();
    this.view.width = Math.max(50, this.pane.clientWidth);
    this.view.height = Math.max(50, this.scroller.clientHeight);
    this.pane.style.height = `${this.view.height}px`;
    for (const canvas of [this.ruler, this.overview]) canvas.style.width = `${this.view.width}px`;
    this.show(this.view.t0, this.view.t1);
  }

  refold() {
    this.layout = layout(this.model.tracks, this.folded);
    this.scroller.style.setProperty("--nkt-rows", `${this.layout.height}px`);
    this.names.replaceChildren(...this.layout.rows.map((row) => this.nameOf(row)));
  }

  nameOf(row) {
    const style = `top:${row.y}px;height:${row.h}px;line-height:${row.h - 1}px`;
    if (!row.group) return element("div", { class: "nkt-name", style, title: row.track.name }, row.track.name);
    const toggle = () => {
      this.folded.has(row.group) ? this.folded.delete(row.group) : this.folded.add(row.group);
      this.resize();
    };
    const text = `${row.folded ? "▸" : "▾"} ${row.group}${row.folded ? ` (${row.size})` : ""}`;
    return element("button", { class: "nkt-group", type: "button", style, "aria-expanded": String(!row.folded), click: toggle }, text);
  }

  // ---- the part in sight ----

  /** Show [t0, t1] ns, kept inside the run. */
  show(t0, t1) {
    const { end } = this.model;
    const span = Math.min(Math.max(t1 - t0, Math.min(CLOSEST, end)), end);
    this.view.t0 = Math.min(Math.max(0, t0), end - span);
    this.view.t1 = this.view.t0 + span;
    this.view.scale = this.view.width / span;
    this.paint();
  }

  fit() {
    this.show(0, this.model.end);
  }

  /** Change the time in sight by `factor` around `at` ns, by default the pointer or the middle. */
  zoom(factor, at = this.pointer?.t ?? (this.view.t0 + this.view.t1) / 2) {
    const { t0, t1 } = this.view;
    const span = Math.min(Math.max((t1 - t0) * factor, CLOSEST), this.model.end);
    const left = at - ((at - t0) / (t1 - t0)) * span;
    this.show(left, left + span);
  }

  pan(share) {
    const shift = (this.view.t1 - this.view.t0) * share;
    this.show(this.view.t0 + shift, this.view.t1 + shift);
  }

  zoomToSelected() {
    if (this.selected < 0) return;
    const [start, end] = [this.model.start[this.selected], this.model.finish[this.selected]];
    const margin = Math.max(end - start, 20) * 2;
    this.show(start - margin, end + margin);
  }

  /** Bring span `i` into sight, unfolding its group and scrolling to its track. */
  reveal(i) {
    const { view, model } = this;
    const track = model.tracks[model.track[i]];
    if (this.folded.delete(track.group)) this.resize();
    const row = this.layout.rows.find((r) => r.track === track);
    if (row.y < view.top || row.y + row.h > view.top + view.height) this.scroller.scrollTop = Math.max(0, row.y - view.height / 2);
    const span = view.t1 - view.t0;
    if (model.start[i] < view.t0 || model.start[i] > view.t1 || model.finish[i] - model.start[i] > span) {
      const width = Math.max(span, 1.5 * (model.finish[i] - model.start[i]));
      this.show(model.start[i] - width * 0.4, model.start[i] + width * 0.6);
    }
  }

  // ---- choosing ----

  /** Select span `i` (-1: none): its details, its arrows, and its line lit in the source. */
  select(i) {
    this.selected = i;
    showDetails(this.details, this.model, i, { select: (other) => this.select(other), selectLine: (line) => this.selectLine(line) });
    const place = i < 0 ? null : placeOf(this.model, i);
    if (this.line < 0 || place) this.source.light(place ? place.line : -1, false);
    if (i >= 0) this.reveal(i);
    this.changed();
  }

  /** Light the spans of a row of the line table (-1, or the same line again: none). */
  selectLine(line) {
    this.line = line === this.line ? -1 : line;
    this.source.light(this.line, true);
    this.mask(this.line < 0 ? null : this.model.byLine()(this.line));
    this.find.value = "";
    this.hits.textContent = this.line < 0 ? "" : `${this.model.byLine()(this.line).length} spans of line ${this.model.lines.number[this.line]}`;
    this.changed();
  }

  /** As `selectLine`, by file name and line number; false where no span has that line. */
  selectPlace(file, number) {
    const { lines } = this.model;
    const line = lines.number.findIndex((n, k) => n === number && lines.files[lines.file[k]] === file);
    if (line >= 0) this.selectLine(line);
    return line >= 0;
  }

  /** Light the spans whose name, line or textual details hold `text`; gives their number. */
  search(text) {
    this.line = -1;
    this.source.light(-1, false);
    const found = text.trim() ? search(this.model, text.trim()) : null;
    this.hits.textContent = found ? `${found.count} hits` : "";
    this.mask(found?.marked ?? null);
    this.changed();
    return found?.count ?? 0;
  }

  /** Light some spans: a byte per span, row numbers, or null for none. */
  mask(rows) {
    let marked = rows;
    if (rows && !(rows instanceof Uint8Array)) {
      marked = new Uint8Array(this.model.count);
      for (const row of rows) marked[row] = 1;
    }
    this.marked = marked;
    const known = new Map();
    this.lanesOf = marked && ((track) => known.get(track) ?? known.set(track, markedLanes(this.model, track, marked)).get(track));
    this.paint();
  }

  /** Go to the next lit span (-1: the one before). */
  step(direction) {
    if (this.marked) this.select(nextMarked(this.model, this.marked, this.selected, direction));
  }

  /** Go to the span beside the selected one in its track. */
  beside(direction) {
    if (this.selected < 0) return this.select(this.model.count ? this.firstInSight() : -1);
    const track = this.model.tracks[this.model.track[this.selected]];
    const next = this.selected + direction;
    return next >= track.first && next < track.first + track.count ? this.select(next) : null;
  }

  firstInSight() {
    const row = this.layout.rows.find((r) => r.track?.lanes && r.y >= this.view.top) ?? this.layout.rows.find((r) => r.track?.lanes);
    if (!row) return -1;
    const lane = row.track.lanes[0];
    return lane.rows[Math.min(above(lane.start, this.view.t0), lane.rows.length - 1)];
  }

  /** Follow a dependence: to the producer that ended last, or to the consumer that starts first. */
  follow(back) {
    if (this.selected < 0) return;
    const edges = back ? this.model.flows().into(this.selected) : this.model.flows().outOf(this.selected);
    const later = (a, b) => (back ? this.model.finish[a] > this.model.finish[b] : this.model.start[a] < this.model.start[b]);
    if (edges.length) this.select(edges.map((e) => e.span).reduce((a, b) => (later(b, a) ? b : a)));
  }

  /** Set a mark at `t` ns (default: the pointer, else the selection's start, else the middle); the third starts anew. */
  mark(t = this.pointer?.t ?? (this.selected >= 0 ? this.model.start[this.selected] : (this.view.t0 + this.view.t1) / 2)) {
    this.marks = this.marks.length === 2 ? [t] : [...this.marks, t];
    this.changed();
  }

  clear() {
    this.marks = [];
    this.find.value = this.hits.textContent = "";
    this.line = -1;
    this.mask(null);
    this.select(-1);
  }

  recolour(by) {
    const { model } = this;
    const palette = [0, 3, 2, 4, 7, 8, 9, 12];
    const kindOf = { operation: (i) => palette[model.name[i] % 8], "source line": (i) => (model.line[i] < 0 ? 5 : palette[model.line[i] % 8]) }[by];
    this.legend.hidden = Boolean(kindOf);
    model.kind = kindOf ? model.shade.map((_, i) => kindOf(i)) : model.shade;
    for (const track of model.tracks) track.lanes = track.lanes?.map((lane) => makeLane(model, lane.rows));
    this.mask(this.marked);
  }

  changed() {
    const { model, selected, marks } = this;
    const parts = [];
    if (selected >= 0) parts.push(`${model.words[model.name[selected]]}: ${showTime(model.finish[selected] - model.start[selected])} at ${showTime(model.start[selected], 1, model.end)}`);
    if (marks.length === 2) parts.push(`between marks: ${showTime(Math.abs(marks[1] - marks[0]))}`);
    else if (marks.length) parts.push("one mark set; set another to measure");
    this.status.textContent = parts.join("  ·  ") || `${model.count.toLocaleString("en")} spans · ${showTime(model.end)} ${model.modelled ? "modelled" : "measured"}`;
    const place = selected >= 0 ? placeOf(model, selected) : null;
    this.onChange({ selected, line: this.line, place, marks });
    this.paint();
  }

  // ---- painting: at most once per frame ----

  paint() {
    this.wanted ??= requestAnimationFrame(() => {
      this.wanted = undefined;
      this.paintNow();
    });
  }

  paintNow() {
    const { view, model, colour } = this;
    paintRows(prepare(this.canvas, view.width, view.height), this.layout.rows, view, model, colour, this.lanesOf);
    paintRuler(prepare(this.ruler, view.width, RULER), view, RULER, colour);
    paintFrame(prepare(this.overview, view.width, OVERVIEW), this.strip(), view, model, colour, OVERVIEW);
    this.paintOver();
  }

  /** The overview without its frame; painted anew only when its width, its colours or its lanes change. */
  strip() {
    const { view, model, colour, kept } = this;
    const lanes = model.tracks.find((track) => track.lanes)?.lanes;
    const ratio = globalThis.devicePixelRatio;
    if (kept?.width === view.width && kept.colour === colour && kept.lanes === lanes && kept.ratio === ratio) return kept.canvas;
    const canvas = document.createElement("canvas");
    paintOverview(prepare(canvas, view.width, OVERVIEW), model.tracks, view, model, colour, OVERVIEW);
    this.kept = { canvas, width: view.width, colour, lanes, ratio };
    return canvas;
  }

  paintOver() {
    const { view, colour } = this;
    const ctx = prepare(this.over, view.width, view.height);
    if (this.range) {
      const [a, b] = this.range.map((t) => (t - view.t0) * view.scale);
      ctx.fillStyle = colour.mark;
      ctx.globalAlpha = 0.18;
      ctx.fillRect(Math.min(a, b), 0, Math.abs(b - a), view.height);
      ctx.globalAlpha = 1;
    }
    if (this.selected >= 0) this.paintSelection(ctx);
    if (this.hovered >= 0) this.outline(ctx, this.hovered, colour.text, 1);
    if (this.pointer) {
      ctx.fillStyle = colour.quiet;
      ctx.fillRect((this.pointer.t - view.t0) * view.scale, 0, 1, view.height);
    }
    paintMarks(ctx, this.marks, view, colour);
  }

  /** The box {x, y, w, h} of span `i` on the canvas in CSS pixels, null where its track is folded. */
  box(i) {
    return boxOf(this.layout.rows, this.model, this.view, i);
  }

  outline(ctx, i, colour, width) {
    const box = this.box(i);
    if (box) paintOutline(ctx, box, colour, width);
    return box;
  }

  paintSelection(ctx) {
    const box = this.outline(ctx, this.selected, this.colour.text, 2);
    if (!box) return;
    const flows = this.model.flows();
    const arrow = (edge, into) => {
      const other = this.box(edge.span);
      if (other) paintArrow(ctx, into ? other : box, into ? box : other, into ? this.colour.text : this.colour.quiet, !handsOn(edge.kind));
    };
    for (const edge of flows.into(this.selected).slice(0, MOST_ARROWS)) arrow(edge, true);
    for (const edge of flows.outOf(this.selected).slice(0, MOST_ARROWS)) arrow(edge, false);
  }
}

Object.assign(Timeline.prototype, pointing, typing);

/** Groups folded at first: the DMA engines, where queues tell the same more briefly. */
function foldedAtFirst(model) {
  const groups = [...new Set(model.tracks.map((t) => t.group))];
  const queues = groups.some((g) => g.startsWith("DMA queues"));
  return new Set(groups.filter((g) => queues && g.startsWith("DMA engines")));
}

/** Whether the page around is dark: said by JupyterLab or VS Code on the body, else by the reader's preference. */
function darkPage() {
  const { body } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  if (body.dataset.vscodeThemeKind) return body.dataset.vscodeThemeKind.includes("dark") || body.dataset.vscodeThemeKind === "vscode-high-contrast";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Let a grip between chart and side panel set the panel's width. */
function dragWidth(grip, side, done) {
  grip.addEventListener("pointerdown", (event) => {
    const from = event.clientX;
    const width = side.offsetWidth;
    grip.setPointerCapture(event.pointerId);
    const over = new AbortController();
    const move = (now) => {
      side.style.flexBasis = `${Math.max(180, width + from - now.clientX)}px`;
      done();
    };
    grip.addEventListener("pointermove", move, { signal: over.signal });
    grip.addEventListener("pointerup", () => over.abort(), { signal: over.signal });
  });
}

/** The notebook's side: `data` is gzip-compressed JSON; selection and marks go back to Python. */
export default {
  async render({ model, el }) {
    const bytes = model.get("data");
    const data = await unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const onChange = ({ selected, place, marks }) => {
      model.set("selected", selected);
      model.set("place", place ? { file: place.file, line: place.number } : {});
      model.set("marks", marks);
      model.save_changes();
    };
    const timeline = mount(el, data, { height: model.get("height"), scheme: model.get("scheme"), onChange });
    return () => timeline.destroy();
  },
};
