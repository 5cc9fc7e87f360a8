// The timeline's hands: mouse and keyboard, as methods that timeline.js adds to its class.

import { above, placeOf, showTime } from "./model.js";
import { element } from "./panel.js";

const SNAP = 6; // px: marks snap to edges of spans this near

export const pointing = {
  at(event, canvas = this.canvas) {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    return { x, y: event.clientY - box.top, t: this.view.t0 + x / this.view.scale };
  },

  /** The span at a point of the canvas, or the nearest within 3 px in its lane; -1 if none. */
  hit({ x, y, t }) {
    const row = this.layout.rows.find((r) => r.track?.lanes && y + this.view.top >= r.y && y + this.view.top < r.y + r.h);
    const lane = row?.track.lanes[Math.max(0, Math.min(row.track.lanes.length - 1, Math.floor((y + this.view.top - row.y - 3) / row.lane)))];
    if (!lane) return -1;
    const near = 3 / this.view.scale;
    const k = above(lane.end, t);
    const distance = (j) => (j < 0 || j >= lane.rows.length ? Infinity : Math.max(0, lane.start[j] - t, t - lane.end[j]));
    const best = distance(k) <= distance(k - 1) ? k : k - 1;
    return distance(best) <= near ? lane.rows[best] : -1;
  },

  wheel(event) {
    event.preventDefault();
    const { t } = this.at(event);
    const steps = event.deltaMode === 1 ? 18 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(((event.deltaX || event.deltaY) * steps) / this.view.width);
    else this.zoom(1.0016 ** (event.deltaY * steps), t);
  },

  press(event) {
    if (event.button !== 0) return;
    if (event.shiftKey) {
      this.dragRange(event, this.canvas);
      return;
    }
    const from = this.at(event);
    const { t0, t1, top } = this.view;
    let moved = false;
    this.drag(event, this.canvas, (now) => {
      const [dx, dy] = [now.x - from.x, now.y - from.y];
      moved ||= Math.hypot(dx, dy) > 3;
      if (!moved) return;
      this.scroller.scrollTop = top - dy;
      this.show(t0 - dx / this.view.scale, t1 - dx / this.view.scale);
    }, () => {
      if (!moved) this.select(this.hit(from));
    });
  },

  dragRange(event, canvas) {
    const from = this.at(event, canvas).t;
    let to = from;
    this.drag(event, canvas, (now) => {
      to = now.t;
      this.range = [from, to];
      this.paintOver();
    }, () => {
      this.range = null;
      if (Math.abs(to - from) * this.view.scale > 4) this.show(Math.min(from, to), Math.max(from, to));
      else this.paintOver();
    });
  },

  dragOverview(event) {
    const centre = ({ x }) => {
      const span = this.view.t1 - this.view.t0;
      const t = (x / this.view.width) * this.model.end;
      this.show(t - span / 2, t + span / 2);
    };
    centre(this.at(event, this.overview));
    this.drag(event, this.overview, centre, () => {});
  },

  drag(event, canvas, move, done) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const over = new AbortController();
    const on = (type, act) => canvas.addEventListener(type, act, { signal: over.signal });
    on("pointermove", (now) => move(this.at(now, canvas)));
    for (const type of ["pointerup", "pointercancel"]) {
      on(type, () => {
        over.abort();
        done();
      });
    }
  },

  hover(event) {
    this.pointer = this.snap(this.at(event));
    const i = event.buttons ? -1 : this.hit(this.pointer);
    this.canvas.style.cursor = i >= 0 ? "pointer" : "";
    this.hovered = i;
    this.showTip(i, event);
    this.paintOver();
  },

  /** Pull the pointer's time to the nearest edge of the span under it. */
  snap(point) {
    const i = this.hit(point);
    if (i < 0) return point;
    const edge = [this.model.start[i], this.model.finish[i]].find((t) => Math.abs(t - point.t) * this.view.scale < SNAP);
    return edge === undefined ? point : { ...point, t: edge };
  },

  showTip(i, event) {
    this.tip.hidden = i < 0;
    if (i < 0) return;
    const { model } = this;
    const place = placeOf(model, i);
    const lines = [model.words[model.name[i]], `${showTime(model.finish[i] - model.start[i])} at ${showTime(model.start[i], 1, model.end)}`, model.tracks[model.track[i]].name];
    if (place) lines.push(`${place.file.split("/").at(-1)}:${place.number}`);
    this.tip.replaceChildren(...lines.map((text) => element("div", {}, text)));
    const box = this.tip.offsetParent.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth - 8);
    this.tip.style.transform = `translate(${Math.max(4, left)}px, ${event.clientY - box.top + 16}px)`;
  },

  leave() {
    this.pointer = null;
    this.hovered = -1;
    this.tip.hidden = true;
    this.paintOver();
  },

  scrolled() {
    this.view.top = this.scroller.scrollTop;
    this.paint();
  },
};

export const typing = {
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === this.find) {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.clear();
      if (event.key === "Enter" || event.key === "Escape") this.canvas.focus();
      event.stopPropagation();
      return;
    }
    if (event.target.tagName === "SELECT" || (event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key))) return;
    const act = this.keys()[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // notebooks have keys of their own
    act();
  },

  keys() {
    const zoomIn = () => this.zoom(1 / 1.4);
    const zoomOut = () => this.zoom(1.4);
    const left = () => this.pan(-0.15);
    const right = () => this.pan(0.15);
    const all = { "+": zoomIn, "=": zoomIn, w: zoomIn, "-": zoomOut, s: zoomOut, a: left, ArrowLeft: left, d: right, ArrowRight: right };
    return Object.assign(all, {
      0: () => this.fit(),
      Home: () => this.fit(),
      f: () => this.zoomToSelected(),
      ",": () => this.beside(-1),
      ".": () => this.beside(1),
      p: () => this.follow(true),
      c: () => this.follow(false),
      "/": () => this.find.focus(),
      n: () => this.step(1),
      N: () => this.step(-1),
      m: () => this.mark(),
      ArrowUp: () => this.scroller.scrollBy(0, -60),
      ArrowDown: () => this.scroller.scrollBy(0, 60),
      Escape: () => (this.help.hidden ? this.clear() : this.toggleHelp()),
      "?": () => this.toggleHelp(),
    });
  },

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    (this.help.hidden ? this.canvas : this.help.querySelector("button")).focus({ preventScroll: true });
  },
};
