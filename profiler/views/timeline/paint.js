// Drawing of the timeline on a canvas: ruler, spans by level of detail, counters, arrows, marks.

import { above, showTime } from "./model.js";

const WIDE = 3; // px: narrower spans are merged into columns
const COLUMN = 2; // px: a column's height is the busy share of its time
const GROUP = 24; // px: height of a group's heading
const FONT = "11px system-ui, sans-serif";

/** Colours of the scheme in force: those of classes from the data, the rest from the style sheet. */
export function colours(root, classes) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(`--nkt-${name}`).trim();
  const fill = classes.map((c) => c[root.dataset.scheme]);
  return { fill, ink: fill.map(inkOn), back: read("back"), panel: read("panel"), text: read("text"), quiet: read("quiet"), grid: read("grid"), mark: read("mark") };
}

/** Black or white, whichever reads better on a colour `#rrggbb`. */
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.28 ? "#101418" : "#ffffff";
}

/** Rows from top to bottom, { group } or { track, lane }, each with y and h; tracks of folded groups are left out. */
export function layout(tracks, folded) {
  const rows = [];
  let y = 0;
  const groups = Map.groupBy ? Map.groupBy(tracks, (t) => t.group) : grouped(tracks);
  for (const [group, members] of groups) {
    rows.push({ group, y, h: GROUP, folded: folded.has(group), size: members.length });
    y += GROUP;
    if (folded.has(group)) continue;
    for (const track of members) {
      const lane = laneHeight(track);
      const h = track.kind === "counter" ? 38 : lane * track.lanes.length + 6;
      rows.push({ track, lane, y, h });
      y += h;
    }
  }
  return { rows, height: y };
}

function grouped(tracks) {
  const groups = new Map();
  for (const track of tracks) groups.set(track.group, [...(groups.get(track.group) ?? []), track]);
  return groups;
}

function laneHeight(track) {
  const lanes = track.lanes?.length ?? 1;
  return lanes === 1 ? 18 : lanes <= 3 ? 14 : lanes <= 8 ? 9 : 5;
}

/** Fit a canvas to its box at the screen's resolution and give its context, cleared, in CSS pixels. */
export function prepare(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  return ctx;
}

/** Times at which the ruler has a line, and the distance between them. */
export function rulerTimes(view) {
  const rough = (view.t1 - view.t0) / Math.max(2, view.width / 84);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const times = [];
  for (let k = Math.ceil(view.t0 / step); k * step <= view.t1; k++) times.push(k * step);
  return { times, step };
}

export function paintRuler(ctx, view, height, colour) {
  const { times, step } = rulerTimes(view);
  for (const t of times) {
    const x = (t - view.t0) * view.scale;
    ctx.fillStyle = colour.grid;
    ctx.fillRect(x, height - 6, 1, 6);
    ctx.fillStyle = colour.quiet;
    ctx.fillText(showTime(t, step, view.t1), x + 4, height / 2);
  }
}

/** Paint all rows in sight. `marked` holds the marked rows' lanes by track, or null when nothing is marked. */
export function paintRows(ctx, rows, view, model, colour, marked) {
  ctx.fillStyle = colour.grid;
  for (const t of rulerTimes(view).times) ctx.fillRect((t - view.t0) * view.scale, 0, 1, view.height);
  for (const row of rows) {
    const y = row.y - view.top;
    if (y > view.height || y + row.h < 0) continue;
    ctx.fillStyle = colour.grid;
    ctx.fillRect(0, y + row.h - 1, view.width, 1);
    if (row.group) {
      ctx.fillStyle = colour.panel;
      ctx.fillRect(0, y, view.width, row.h - 1);
      continue;
    }
    if (row.track.kind === "counter") paintCounter(ctx, row, y, view, colour);
    else paintTrack(ctx, row, y, view, model, colour, marked);
  }
}

function paintTrack(ctx, row, y, view, model, colour, marked) {
  const draw = (lanes) => lanes.forEach((lane, l) => paintLane(ctx, lane, y + 3 + l * row.lane, row.lane - 1, view, model, colour));
  ctx.globalAlpha = marked ? 0.2 : 1;
  draw(row.track.lanes);
  ctx.globalAlpha = 1;
  if (marked) draw(marked(row.track));
}

/**
 * Paint one lane. Wide spans are drawn as they are. The narrow ones that start within one column of pixels become one
 * bar, as high as the share of the column's time that they fill, so that zooming out shows utilisation.
 */
function paintLane(ctx, lane, y, h, view, model, colour) {
  const { t0, t1, scale } = view;
  const count = lane.rows.length;
  const pxOf = (k) => (lane.end[k] - lane.start[k]) * scale;
  const columns = [];
  let k = above(lane.end, t0);
  while (k < count && lane.start[k] <= t1) {
    const left = (lane.start[k] - t0) * scale;
    if (pxOf(k) >= WIDE) {
      paintSpan(ctx, lane.rows[k], left, pxOf(k), y, h, view, model, colour);
      k++;
      continue;
    }
    const column = Math.floor(left / COLUMN) * COLUMN;
    let next = Math.max(k + 1, above(lane.start, t0 + (column + COLUMN) / scale, k, count));
    if (next > k + 1 && pxOf(next - 1) >= WIDE) next--;
    columns.push(k, next, column);
    k = next;
  }
  if (columns.length) paintColumns(ctx, lane, columns, y, h, scale, colour);
}

function paintSpan(ctx, i, left, width, y, h, view, model, colour) {
  const x = Math.max(left, -1);
  const drawn = Math.min(left + width, view.width + 1) - x;
  ctx.fillStyle = colour.fill[model.kind[i]];
  ctx.fillRect(x, y, drawn > 5 ? drawn - 1 : drawn, h);
  if (drawn < 28 || h < 11) return;
  const fits = Math.floor((drawn - 8) / 6.4);
  const word = model.words[model.name[i]];
  ctx.fillStyle = colour.ink[model.kind[i]];
  ctx.fillText(word.length > fits ? `${word.slice(0, Math.max(1, fits - 1))}…` : word, x + 4, y + h / 2 + 0.5);
}

/** Bars of (first row, row behind the last, x) each, class on class; one class after the other, as changing the colour is dear. */
function paintColumns(ctx, lane, columns, y, h, scale, colour) {
  const full = COLUMN / scale;
  const base = new Float32Array(columns.length / 3).fill(y + h);
  for (const kind of lane.kinds) {
    const sum = lane.sums.get(kind);
    ctx.fillStyle = colour.fill[kind];
    for (let c = 0, at = 0; at < columns.length; c++, at += 3) {
      const share = (sum[columns[at + 1]] - sum[columns[at]]) / full;
      if (share <= 0) continue;
      const tall = Math.min(base[c] - y, Math.max(1.5, h * share));
      base[c] -= tall;
      ctx.fillRect(columns[at + 2], base[c], COLUMN, tall);
    }
  }
  ctx.fillStyle = colour.fill[lane.kinds[0]];
  base.forEach((top, c) => {
    if (top === Math.fround(y + h)) ctx.fillRect(columns[3 * c + 2], y + h - 1.5, COLUMN, 1.5);
  });
}

function paintCounter(ctx, row, y, view, colour) {
  const { levels, top } = row.track;
  const inSight = ({ t }) => above(t, view.t1) - above(t, view.t0);
  const { t, v } = levels.find((level) => inSight(level) <= 2 * view.width) ?? levels.at(-1);
  const height = row.h - 8;
  const yOf = (value) => y + 4 + height * (1 - Math.min(1, value / (top || 1)));
  const first = Math.max(0, above(t, view.t0) - 1);
  const xOf = (k) => Math.min(view.width, Math.max(0, (t[k] - view.t0) * view.scale));
  if (first >= t.length || t[first] > view.t1) return;
  ctx.beginPath();
  ctx.moveTo(xOf(first), yOf(0));
  let k = first;
  for (; k < t.length && t[k] <= view.t1; k++) {
    if (k > first) ctx.lineTo(xOf(k), yOf(v[k - 1]));
    ctx.lineTo(xOf(k), yOf(v[k]));
  }
  const last = k < t.length ? view.width : xOf(k - 1);
  ctx.lineTo(last, yOf(v[k - 1]));
  ctx.lineTo(last, yOf(0));
  ctx.fillStyle = colour.fill[row.track.class];
  ctx.globalAlpha = 0.55;
  ctx.fill();
  ctx.globalAlpha = 1;
}

/** The box of span `i` on the canvas, null where its track is folded. */
export function boxOf(rows, model, view, i) {
  const row = rows.find((r) => r.track && r.track === model.tracks[model.track[i]]);
  if (!row) return null;
  const lane = row.track.lanes.findIndex((l) => l.rows[above(l.rows, i) - 1] === i);
  const x = (model.start[i] - view.t0) * view.scale;
  return { x, y: row.y - view.top + 3 + lane * row.lane, w: Math.max(2, (model.finish[i] - model.start[i]) * view.scale), h: row.lane - 1 };
}

export function paintOutline(ctx, box, colour, width = 2) {
  const x = Math.max(-4, box.x);
  const right = Math.min(box.x + box.w, ctx.canvas.width + 4);
  if (right < x) return;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.strokeRect(x - 1, box.y - 1, right - x + 2, box.h + 2);
}

/** An arrow from the end of one span to the start of another; dashed when no value is handed on. */
export function paintArrow(ctx, from, to, colour, dashed) {
  const [x0, y0, x1, y1] = [from.x + from.w, from.y + from.h / 2, to.x, to.y + to.h / 2];
  const bend = Math.max(18, Math.min(80, Math.abs(x1 - x0) / 2));
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = 1.4;
  ctx.setLineDash(dashed ? [4, 3] : []);
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 5, y1);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x1 - 7, y1 - 3.5);
  ctx.lineTo(x1 - 7, y1 + 3.5);
  ctx.fill();
}

/** The marks of a measurement, the time between them shaded and written above. */
export function paintMarks(ctx, marks, view, colour) {
  const xs = marks.map((t) => (t - view.t0) * view.scale);
  ctx.fillStyle = colour.mark;
  for (const x of xs) ctx.fillRect(x - 0.5, 0, 1.5, view.height);
  if (xs.length < 2) return;
  const [left, right] = xs[0] < xs[1] ? xs : [xs[1], xs[0]];
  ctx.globalAlpha = 0.1;
  ctx.fillRect(left, 0, right - left, view.height);
  ctx.globalAlpha = 1;
  tag(ctx, showTime(Math.abs(marks[1] - marks[0])), Math.min(Math.max((left + right) / 2, 40), view.width - 40), 12, colour.mark);
}

function tag(ctx, text, x, y, colour) {
  const width = ctx.measureText(text).width + 14;
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.roundRect(x - width / 2, y - 9, width, 18, 4);
  ctx.fill();
  ctx.fillStyle = inkOn(colour);
  ctx.fillText(text, x - width / 2 + 7, y + 0.5);
}

/** The whole run in a strip: one thin lane per track of spans. */
export function paintOverview(ctx, tracks, view, model, colour, height) {
  const drawn = tracks.filter((t) => t.kind === "spans").slice(0, 12);
  const whole = { t0: 0, t1: model.end, scale: view.width / model.end, width: view.width };
  const tall = Math.max(2, Math.floor((height - 4) / Math.max(1, drawn.length)));
  ctx.globalAlpha = 0.9;
  drawn.forEach((track, t) => paintLane(ctx, track.lanes[0], 2 + t * tall, tall - 1, whole, model, colour));
  ctx.globalAlpha = 1;
}

/** The strip once more, with the part in sight framed. */
export function paintFrame(ctx, strip, view, model, colour, height) {
  ctx.drawImage(strip, 0, 0, view.width, height);
  const [left, right] = [view.t0, view.t1].map((t) => (t * view.width) / model.end);
  ctx.fillStyle = colour.back;
  ctx.globalAlpha = 0.6;
  ctx.fillRect(0, 0, left, height);
  ctx.fillRect(right, 0, view.width - right, height);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colour.mark;
  ctx.lineWidth = 1.5;
  ctx.strokeRect(Math.max(0.75, left), 0.75, Math.max(3, Math.min(right - left, view.width - 1.5)), height - 1.5);
}
