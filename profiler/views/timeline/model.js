// The timeline's data: decoding of nkilab.timeline/1 (docs/timeline-json.md), lanes, dependences, search.

export const SCHEMA = "nkilab.timeline/1";
const MOST_LANES = 24;

/** The JSON value in gzip-compressed bytes. */
export async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** The bytes of a base64 string. */
export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

/** Whole numbers: zigzag-coded first differences in groups of seven bits. Sums stay exact below 2**53. */
function integers(field, Kind = Int32Array, scale = 1) {
  const bytes = fromBase64(field.ints);
  const out = new Kind(field.count);
  let at = 0;
  let sum = 0;
  for (let i = 0; i < field.count; i++) {
    let byte = bytes[at++];
    if (byte < 128) {
      sum += byte & 1 ? -((byte + 1) >> 1) : byte >> 1;
      out[i] = sum * scale;
      continue;
    }
    let step = byte & 127;
    for (let place = 128; byte & 128; place *= 128) {
      byte = bytes[at++];
      step += (byte & 127) * place;
    }
    sum += step % 2 ? -(step + 1) / 2 : step / 2;
    out[i] = sum * scale;
  }
  return out;
}

function floats(field) {
  const bytes = fromBase64(field.floats);
  return new Float32Array(bytes.buffer, bytes.byteOffset, field.count);
}

/**
 * One column of details, decoded when first asked: at(i) is null where the profile says nothing, mark(has, marked) sets
 * the bytes of the spans whose text passes `has`.
 */
function detail(column) {
  const { name, unit, first, values } = column;
  const count = values.count ?? values.codes.count;
  const decoded = lazy(() => (values.words ? integers(values.codes) : values.ints !== undefined ? integers(values, Float64Array) : floats(values)));
  const at = (i) => {
    if (i < first || i >= first + count) return null;
    const value = decoded()[i - first];
    if (values.words) return value < 0 ? null : values.words[value];
    return Number.isNaN(value) || (values.ints !== undefined && value < 0) ? null : value;
  };
  const mark = (has, marked) => {
    if (!values.words) return;
    const hit = values.words.map(has);
    decoded().forEach((code, k) => {
      if (hit[code]) marked[first + k] = 1;
    });
  };
  return { name, unit, at, mark };
}

/** Decode a document of schema nkilab.timeline/1; throws an Error that says what is wrong with it. */
export function decode(data) {
  if (data?.schema !== SCHEMA) throw new Error(`This timeline reads ${SCHEMA}, not ${String(data?.schema)}.`);
  const tick = data.time.tick;
  const first = integers(data.spans.start, Float64Array);
  const finish = integers(data.spans.duration, Float64Array).map((ticks, i) => (first[i] + ticks) * tick);
  const model = {
    title: data.title,
    modelled: data.modelled,
    notes: data.notes,
    classes: data.classes,
    end: data.time.end || 1,
    count: data.spans.count,
    start: first.map((ticks) => ticks * tick),
    finish,
    words: data.spans.name.words,
    name: integers(data.spans.name.codes),
    kind: integers(data.spans.class, Uint8Array),
    line: integers(data.spans.line),
    details: data.details.map(detail),
    lines: {
      files: data.lines.file.words,
      file: integers(data.lines.file.codes),
      number: integers(data.lines.line),
      functions: data.lines.function.words,
      fn: integers(data.lines.function.codes),
      times: data.lines.times.map(({ class: kind, ns }) => ({ kind, ns: floats(ns) })),
      total: null,
    },
    sources: data.sources,
    track: new Uint16Array(data.spans.count),
  };
  model.lines.total = model.lines.number.length ? Float64Array.from(model.lines.number, (_, l) => model.lines.times.reduce((sum, { ns }) => sum + ns[l], 0)) : new Float64Array(0);
  model.shade = model.kind; // by engine; `kind` changes with the colouring chosen
  model.tracks = data.tracks.map((track) => decodeTrack(track, tick)).sort((a, b) => a.order - b.order);
  model.tracks.forEach((track, t) => {
    if (track.kind !== "spans") return;
    model.track.fill(t, track.first, track.first + track.count);
    const members = Int32Array.from({ length: track.count }, (_, i) => track.first + i);
    track.lanes = packLanes(model, members);
  });
  model.flows = lazy(() => decodeFlows(data.flows, model.count));
  model.byLine = lazy(() => groupBy(model.line, model.lines.number.length));
  return model;
}

function lazy(make) {
  let value;
  return () => (value ??= make());
}

function decodeTrack(track, tick) {
  if (track.kind !== "counter") return { ...track };
  return { ...track, levels: pyramid(integers(track.t, Float64Array, tick), floats(track.v)) };
}

/** Counter samples and coarser copies, each of them the maximum of four samples of the one before. */
function pyramid(t, v) {
  const levels = [{ t, v }];
  while (levels.at(-1).t.length > 512) {
    const fine = levels.at(-1);
    const n = Math.ceil(fine.t.length / 4);
    const coarse = { t: new Float64Array(n), v: new Float32Array(n) };
    for (let i = 0; i < n; i++) {
      coarse.t[i] = fine.t[4 * i];
      coarse.v[i] = Math.max(...fine.v.subarray(4 * i, 4 * i + 4));
    }
    levels.push(coarse);
  }
  return levels;
}

/**
 * Put spans (row numbers sorted by start) into lanes without overlap, first fit. Past MOST_LANES, a span goes to the
 * lane that is free first and is drawn from there on.
 */
function packLanes(model, members) {
  const free = [];
  const rows = [];
  for (const i of members) {
    let lane = free.findIndex((time) => time <= model.start[i]);
    if (lane < 0) lane = free.length < MOST_LANES ? free.length : free.indexOf(Math.min(...free));
    (rows[lane] ??= []).push(i);
    free[lane] = Math.max(free[lane] ?? 0, model.finish[i]);
  }
  return rows.map((list) => makeLane(model, Int32Array.from(list)));
}

/** A lane: rows with their drawn start and end, and for each class in it the running sum of time. */
export function makeLane(model, rows) {
  const n = rows.length;
  const start = new Float64Array(n);
  const end = new Float64Array(n);
  const sums = new Map();
  let last = -Infinity;
  for (let k = 0; k < n; k++) {
    start[k] = Math.max(model.start[rows[k]], last);
    end[k] = last = Math.max(model.finish[rows[k]], start[k]);
    const kind = model.kind[rows[k]];
    if (!sums.has(kind)) sums.set(kind, new Float64Array(n + 1));
  }
  for (const [kind, sum] of sums) {
    for (let k = 0; k < n; k++) sum[k + 1] = sum[k] + (model.kind[rows[k]] === kind ? end[k] - start[k] : 0);
  }
  return { rows, start, end, kinds: [...sums.keys()].sort((a, b) => a - b), sums };
}

/** The lanes of a track, holding the marked rows only. */
export function markedLanes(model, track, marked) {
  return track.lanes.map((lane) => makeLane(model, lane.rows.filter((row) => marked[row])));
}

/** First position whose value is above `x` in an ascending array. */
export function above(values, x, low = 0, high = values.length) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Rows grouped by key: row numbers of key k are order[offset[k] .. offset[k + 1]]; negative keys are left out. */
function groupBy(keys, count) {
  const offset = new Int32Array(count + 1);
  for (const key of keys) if (key >= 0) offset[key + 1]++;
  for (let k = 0; k < count; k++) offset[k + 1] += offset[k];
  const order = new Int32Array(offset[count]);
  const next = offset.slice();
  keys.forEach((key, row) => {
    if (key >= 0) order[next[key]++] = row;
  });
  return (k) => order.subarray(offset[k], offset[k + 1]);
}

/** Dependences by either end: into(i) and outOf(i) list { span, kind }. */
function decodeFlows(flows, count) {
  const to = integers(flows.to);
  const from = integers(flows.offset).map((offset, k) => to[k] + offset);
  const kind = integers(flows.kind.codes);
  const describe = (other) => (k) => ({ span: other[k], kind: flows.kind.words[kind[k]] ?? "" });
  const byTo = groupBy(to, count);
  const byFrom = groupBy(from, count);
  return { into: (i) => Array.from(byTo(i), describe(from)), outOf: (i) => Array.from(byFrom(i), describe(to)) };
}

/** Where a span comes from: { file, number, fn } or null. */
export function placeOf(model, i) {
  const line = model.line[i];
  if (line < 0) return null;
  const { files, file, number, functions, fn } = model.lines;
  return { line, file: files[file[line]], number: number[line], fn: functions[fn[line]] ?? "" };
}

/** Rows whose name, place or a textual detail holds `text`, as a byte per span, and how many there are. */
export function search(model, text) {
  const wanted = text.toLowerCase();
  const has = (word) => String(word).toLowerCase().includes(wanted);
  const words = model.words.map(has);
  const { files, file, number, functions, fn } = model.lines;
  const lines = Array.from(number, (n, l) => has(`${files[file[l]]}:${n} ${functions[fn[l]] ?? ""}`));
  const marked = new Uint8Array(model.count);
  for (let i = 0; i < model.count; i++) {
    if (words[model.name[i]] || (model.line[i] >= 0 && lines[model.line[i]])) marked[i] = 1;
  }
  for (const column of model.details) column.mark(has, marked);
  return { marked, count: marked.reduce((sum, one) => sum + one, 0) };
}

/** The next marked row after (or before) row `i` in time order over all tracks, wrapping round; -1 if none. */
export function nextMarked(model, marked, i, step) {
  const from = i < 0 ? -Infinity : model.start[i];
  let best = -1;
  let wrap = -1;
  const sooner = (a, b) => b < 0 || step * (model.start[a] - model.start[b] || a - b) < 0;
  for (let k = 0; k < model.count; k++) {
    if (!marked[k] || k === i) continue;
    if (sooner(k, wrap)) wrap = k;
    if (step * (model.start[k] - from || k - i) > 0 && sooner(k, best)) best = k;
  }
  return best >= 0 ? best : wrap >= 0 ? wrap : i;
}

/** A time in ns in the unit that suits `size` (a time as long as those beside it); `step` must still show. */
export function showTime(ns, step = Math.abs(ns) / 1000, size = Math.abs(ns)) {
  const [unit, per] = size < 1e3 ? ["ns", 1] : size < 1e7 ? ["µs", 1e3] : size < 1e10 ? ["ms", 1e6] : ["s", 1e9];
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / per || 1) - 1e-9)));
  return `${(ns / per).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
}

const BINARY = ["B", "KiB", "MiB", "GiB"];
const DECIMAL = ["", "k", "M", "G", "T", "P"];
const SHORT = { "bytes/s": "B/s", flop: "FLOP" };

/** A number with its unit: binary steps for bytes, decimal ones for rates and FLOPs, `showTime` for ns. */
export function showValue(value, unit) {
  if (typeof value !== "number") return String(value);
  if (unit === "ns") return showTime(value);
  if (unit === "fraction") return `${(100 * value).toFixed(1)} %`;
  if (unit === "bytes") return stepped(value, 1024, (k) => BINARY[k], 3);
  if (unit in SHORT) return stepped(value, 1000, (k) => DECIMAL[k] + SHORT[unit], 5);
  return `${value.toLocaleString("en")} ${unit}`.trim();
}

function stepped(value, base, name, most) {
  const k = value ? Math.min(most, Math.max(0, Math.floor(Math.log(Math.abs(value)) / Math.log(base) + 1e-9))) : 0;
  return `${(value / base ** k).toLocaleString("en", { maximumFractionDigits: k ? 2 : 0 })} ${name(k)}`;
}
