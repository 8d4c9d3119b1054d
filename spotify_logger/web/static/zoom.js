"use strict";
// The visible range of a chart, moved by mouse, wheel, touch, keys and buttons.

const CLICK_PIXELS = 8; // by which a pointer may move during a click

/**
 * The range is [begin, end) in items; both may be fractions, so that small movements add up.
 * `area()` returns the plot area in canvas pixels; `changed()`, `selecting(from, to)` and `chosen(event)`, for a
 * click, are callbacks.
 */
class Zoom {
  constructor(canvas, total, minimum, { area, changed, selecting, chosen }) {
    Object.assign(this, { canvas, total, area, changed, selecting, chosen });
    this.minimum = Math.min(minimum, total);
    this.begin = 0;
    this.end = total;
    this.pointers = new Map();
    this.start = null;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.forget(event));
  }

  get length() {
    return this.end - this.begin;
  }

  get isWhole() {
    return this.length >= this.total;
  }

  /** Show `length` items from `begin`, clamped to the data. */
  show(begin, length) {
    const shown = Math.min(this.total, Math.max(this.minimum, length));
    this.begin = Math.min(Math.max(0, begin), this.total - shown);
    this.end = this.begin + shown;
    this.changed();
  }

  /** Scale the range by `factor`, keeping the point at `place` fixed (0 is the left end, 1 the right). */
  by(factor, place = 0.5) {
    const length = Math.min(this.total, Math.max(this.minimum, this.length * factor));
    this.show(this.begin + place * (this.length - length), length);
  }

  moveBy(parts) {
    this.show(this.begin + parts * this.length, this.length);
  }

  /** Run a named action; return whether it exists. */
  act(what) {
    const length = Math.max(1 / this.length, 0.2);
    const acts = {
      closer: () => this.by(0.5),
      wider: () => this.by(2),
      all: () => this.show(0, this.total),
      earlier: () => this.moveBy(-length),
      later: () => this.moveBy(length),
      first: () => this.show(0, this.length),
      last: () => this.show(this.total, this.length),
    };
    if (!acts[what]) return false;
    acts[what]();
    return true;
  }

  place(x) {
    const { left, right } = this.area();
    return Math.min(1, Math.max(0, (x - left) / (right - left)));
  }

  wheel(event) {
    const pixels = event.deltaMode === 0 ? 1 : 30;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // Zoomed out as far as possible: let the page scroll.
    if (this.isWhole && (sideways || event.deltaY > 0)) return;
    event.preventDefault();
    if (sideways) this.moveBy((event.deltaX * pixels) / this.canvas.clientWidth);
    else this.by(Math.exp(Math.max(-1, Math.min(1, event.deltaY * pixels * 0.004))), this.place(event.offsetX));
  }

  down(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    this.pointers.set(event.pointerId, event.offsetX);
    this.pressed = this.pointers.size === 1 ? event.offsetX : null;
    this.canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "mouse") this.start = event.offsetX;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) return;
    this.pointers.set(event.pointerId, event.offsetX);
    if (Math.abs(event.offsetX - this.pressed) >= CLICK_PIXELS) this.pressed = null;
    if (this.start !== null) this.selecting(this.start, event.offsetX);
    else if (this.pointers.size === 1) this.moveBy((before - event.offsetX) / this.canvas.clientWidth);
    else this.pinch(event.pointerId, before, event.offsetX);
  }

  pinch(moved, before, now) {
    const [, other] = [...this.pointers].find(([pointer]) => pointer !== moved);
    const apart = Math.max(20, Math.abs(now - other));
    this.by(Math.max(20, Math.abs(before - other)) / apart, this.place((now + other) / 2));
  }

  up(event) {
    const from = this.start;
    this.forget(event);
    if (this.pressed !== null) {
      this.pressed = null;
      this.chosen(event);
      return;
    }
    if (from === null) return;
    const [left, right] = [from, event.offsetX].sort((one, other) => one - other).map((x) => this.place(x));
    const [begin, end] = [Math.floor(this.begin + left * this.length), Math.ceil(this.begin + right * this.length)];
    this.show(begin, end - begin);
  }

  /** Drop a pointer and its selection. */
  forget(event) {
    this.pointers.delete(event.pointerId);
    if (this.start === null) return;
    this.start = null;
    this.selecting(null, null);
  }
}
