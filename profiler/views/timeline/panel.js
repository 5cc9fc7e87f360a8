// What stands beside the canvas: small DOM helpers, the details of a span, the source with time per line, the help.
// Text from the data reaches the page through textContent only.

import { placeOf, showTime, showValue } from "./model.js";

/** An element with attributes, event handlers (functions) and children (elements or text). */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const DETAIL_NAMES = {
  compiler_opcode: "instruction",
  evt_wait_time_ns: "wait as recorded",
  ready_ts: "operands ready at",
  raw_flops: "FLOPs",
  tensor_elements: "elements",
  scalar_activation_fn: "activation",
  pc: "program counter",
};

function labelOf({ name }) {
  return DETAIL_NAMES[name] ?? name.replaceAll("_", " ");
}

/** Fill `box` with what is known of span `i`. `actions`: select(i), selectLine(line). */
export function showDetails(box, model, i, actions) {
  if (i < 0) {
    box.replaceChildren(element("p", { class: "nkt-hint" }, "Click a span for its details, or a source line for its instructions. Press ? for the keys."));
    return;
  }
  const track = model.tracks[model.track[i]];
  const place = placeOf(model, i);
  const known = model.details.map((d) => ({ ...d, value: d.at(i) })).filter((d) => d.value !== null);
  const still = known.filter((d) => d.unit === "bytes" && d.value === 0);
  const rows = [
    ["track", `${track.group} · ${track.name}`],
    ["start", showTime(model.start[i], 1, model.end)],
    ["duration", showTime(model.finish[i] - model.start[i])],
    ...known.filter((d) => !still.includes(d)).map((d) => [labelOf(d), showValue(d.value, d.unit)]),
    ...(still.length ? [["0 bytes", still.map((d) => labelOf(d).replace(/ bytes$/, "")).join(", ")]] : []),
  ];
  const list = element("dl", { class: "nkt-facts" });
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, value));
  const heading = element("h3", {}, element("span", { class: "nkt-dot", style: `background:var(--c${model.shade[i]})` }), model.words[model.name[i]]);
  box.replaceChildren(heading);
  if (place) {
    const label = `${place.file.split("/").at(-1)}:${place.number}${place.fn ? ` in ${place.fn}` : ""}`;
    box.append(element("button", { class: "nkt-link", type: "button", title: place.file, click: () => actions.selectLine(place.line) }, label));
  }
  box.append(list, dependences(model, i, actions));
}

const MOST_DEPENDENCES = 12;

function dependences(model, i, actions) {
  const box = element("div", { class: "nkt-flows" });
  for (const [heading, edges] of [["waits for", model.flows().into(i)], ["waited for by", model.flows().outOf(i)]]) {
    if (!edges.length) continue;
    box.append(element("h4", {}, `${heading} (${edges.length})`));
    for (const { span, kind } of edges.slice(0, MOST_DEPENDENCES)) {
      const gap = heading === "waits for" ? model.start[i] - model.finish[span] : model.start[span] - model.finish[i];
      const text = `${model.words[model.name[span]]} · ${model.tracks[model.track[span]].name} · ${kindName(kind)} · gap ${showTime(gap)}`;
      box.append(element("button", { class: "nkt-link", type: "button", click: () => actions.select(span) }, text));
    }
    if (edges.length > MOST_DEPENDENCES) box.append(element("p", { class: "nkt-hint" }, `and ${edges.length - MOST_DEPENDENCES} more`));
  }
  return box;
}

function kindName(kind) {
  return kind.toLowerCase().replace("_dependence", "").replaceAll("_", " ") || "dependence";
}

/** Whether a dependence hands a value on (others only keep an order). */
export function handsOn(kind) {
  return kind === "" || /^flow/i.test(kind);
}

/** The source beside the timeline. `pick(line)` is called with a row of the line table when a line is clicked. */
export function sourcePane(model, pick) {
  const known = new Map(model.sources.map((s) => [s.file, s.text]));
  const files = [...new Set([...model.lines.files, ...known.keys()])];
  const body = element("div", { class: "nkt-code", role: "group", "aria-label": "Source lines" });
  const choice = element("select", { "aria-label": "Source file", change: () => show(choice.value) }, ...files.map((f) => element("option", { value: f }, f)));
  const hint = element("p", { class: "nkt-hint" });
  const pane = element("section", { class: "nkt-source", "aria-label": "Source" }, files.length ? choice : null, hint, body);
  const rowOf = new Map();
  let shown = null;

  function show(file) {
    if (file === shown || file === undefined) return;
    shown = choice.value = file;
    rowOf.clear();
    const at = linesOf(model, file);
    const text = known.get(file);
    const most = Math.max(1, ...model.lines.total);
    hint.textContent = text === undefined ? "The text of this file is not in the profile; its lines are." : "";
    const numbers = text === undefined ? [...at.keys()].sort((a, b) => a - b) : text.split("\n").map((_, k) => k + 1);
    const words = text === undefined ? [] : text.split("\n");
    body.replaceChildren(...numbers.map((number) => codeRow(number, words[number - 1] ?? functionOf(at.get(number)), at.get(number), most)));
  }

  function functionOf(line) {
    const name = model.lines.functions[model.lines.fn[line]];
    return name ? `in ${name}` : "";
  }

  function codeRow(number, code, line, most) {
    const cells = [element("span", { class: "nkt-number" }, String(number)), timeBar(model, line, most), element("code", {}, code || " ")];
    if (line === undefined) return element("div", { class: "nkt-line" }, ...cells);
    const title = `${showTime(model.lines.total[line])} in ${model.byLine()(line).length} instructions and transfers`;
    const row = element("button", { class: "nkt-line", type: "button", "data-line": number, "aria-pressed": "false", title, click: () => pick(line) }, ...cells);
    rowOf.set(line, row);
    return row;
  }

  function light(line, chosen) {
    for (const row of rowOf.values()) {
      row.classList.remove("nkt-lit");
      row.setAttribute("aria-pressed", "false");
    }
    if (line < 0) return;
    show(model.lines.files[model.lines.file[line]]);
    const row = rowOf.get(line);
    row?.classList.add("nkt-lit");
    row?.setAttribute("aria-pressed", String(chosen));
    if (row) body.scrollTop = Math.max(0, row.offsetTop - body.clientHeight / 2);
  }

  if (!files.length) hint.textContent = "No source lines in this profile.";
  show(hottestFile(model) ?? files[0]);
  return { pane, light };
}

function hottestFile(model) {
  let best = 0;
  model.lines.total.forEach((time, line) => {
    if (time > model.lines.total[best]) best = line;
  });
  return model.lines.files[model.lines.file[best]];
}

function linesOf(model, file) {
  const at = new Map();
  model.lines.number.forEach((number, line) => {
    if (model.lines.files[model.lines.file[line]] === file) at.set(number, line);
  });
  return at;
}

/** A bar of the time on a line, one piece per class, against the longest line of the run. */
function timeBar(model, line, most) {
  const bar = element("span", { class: "nkt-bar" });
  if (line === undefined) return bar;
  for (const { kind, ns } of model.lines.times) {
    if (ns[line] > 0) bar.append(element("i", { style: `width:${((100 * ns[line]) / most).toFixed(2)}%;background:var(--c${kind})` }));
  }
  return bar;
}

/** A legend of the colour classes in use. */
export function legend(model) {
  const used = [...new Set(model.shade)].sort((a, b) => a - b);
  return element("span", { class: "nkt-legend" }, ...used.map((k) => element("span", {}, element("i", { class: "nkt-dot", style: `background:var(--c${k})` }), model.classes[k].name)));
}

const KEYS = [
  ["+ / − , W / S, wheel", "zoom in, out"],
  ["← / → , A / D, drag, Shift+wheel", "pan"],
  ["Shift+drag, drag on the ruler", "zoom to a range"],
  ["0 or Home", "the whole run"],
  ["F", "zoom to the selected span"],
  [", / .", "previous, next span of the track"],
  ["P / C", "go to the last span waited for, to the first that waits"],
  ["/ , then N / Shift+N", "search, next and previous hit"],
  ["M", "set a mark at the pointer or selection; two marks measure"],
  ["Esc", "clear marks, selection, search"],
  ["wheel over the track names", "scroll the tracks"],
  ["?", "this help"],
];

export function helpBox(close) {
  const list = element("dl", {});
  for (const [keys, what] of KEYS) list.append(element("dt", {}, keys), element("dd", {}, what));
  return element("div", { class: "nkt-help", role: "dialog", "aria-label": "Keys", hidden: true }, element("h3", {}, "Keys"), list, element("button", { type: "button", click: close }, "Close"));
}
