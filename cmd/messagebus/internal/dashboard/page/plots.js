// The plots: ten minutes each, drawn as SVG. They are read with the pointer, or with
// the arrow keys.

import { element, setText, svg } from './dom.js';
import { amount, count, milliseconds, time } from './format.js';

const span = 10 * 60 * 1000; // ms
const height = 132;
const edge = { top: 10, right: 2, bottom: 20, left: 40 };

const rate = (n) => `${amount(n)} /s`;

const kinds = [
  { key: 'held', title: 'Held connections', write: count, least: 4 },
  { key: 'published', title: 'Published', write: rate, least: 1 },
  { key: 'delivered', title: 'Delivered', write: rate, least: 1 },
  { key: 'publish_ms', title: 'Time to publish, average', write: milliseconds, least: 1 },
];

export class Plots {
  constructor(place) {
    this.plots = kinds.map((kind) => new Plot(kind));
    place.replaceChildren(...this.plots.map((p) => p.figure));
  }

  show(overview) {
    for (const plot of this.plots) plot.show(overview);
  }
}

class Plot {
  constructor(kind) {
    this.kind = kind;
    this.at = [];
    this.values = [];
    this.chosen = undefined; // the index that is read
    this.number = element('span', { class: 'plot-number' });
    this.note = element('span', { class: 'plot-note' });
    this.svg = svg('svg', { class: 'plot-svg', height: String(height), role: 'img', tabindex: '0' });
    this.figure = element('figure', { class: 'plot' },
      element('figcaption', { class: 'plot-head' }, element('span', { class: 'plot-title' }, kind.title), this.number, this.note), this.svg);
    this.said = element('span', { class: 'hidden', 'aria-live': 'polite' });
    this.figure.append(this.said);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  listen() {
    this.svg.addEventListener('pointermove', (e) => this.choose(this.nearest(e.clientX - this.svg.getBoundingClientRect().left)));
    this.svg.addEventListener('pointerleave', () => this.choose(undefined));
    this.svg.addEventListener('blur', () => this.choose(undefined));
    this.svg.addEventListener('keydown', (e) => {
      const last = this.at.length - 1;
      const now = this.chosen ?? last;
      const next = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - 30, PageDown: now + 30, Home: 0, End: last, Escape: undefined }[e.key];
      if (next === undefined && e.key !== 'Escape') return;
      e.preventDefault();
      this.choose(next === undefined ? undefined : Math.min(Math.max(next, 0), last));
      this.said.textContent = this.chosen === undefined ? '' : this.readout();
    });
  }

  show({ samples, held, max_held: most, at }) {
    // A place that is read moves with its time.
    const reading = this.at[this.chosen];
    this.now = at;
    this.at = samples.at;
    this.values = samples[this.kind.key];
    const last = this.values.findLast((v) => v !== null);
    this.current = this.kind.key === 'held' ? held : last;
    this.limit = this.kind.key === 'held' && most > 0 ? `of ${count(most)} at most` : undefined;
    if (reading !== undefined) this.chosen = Math.max(this.at.indexOf(reading), 0);
    this.draw();
  }

  choose(index) {
    this.chosen = this.at.length > 0 ? index : undefined;
    this.draw();
  }

  nearest(x) {
    let best;
    for (let i = 0; i < this.at.length; i++) {
      if (best === undefined || Math.abs(this.x(this.at[i]) - x) < Math.abs(this.x(this.at[best]) - x)) best = i;
    }
    return best;
  }

  x(at) {
    return edge.left + (1 - (this.now - at) / span) * (this.width - edge.left - edge.right);
  }

  y(value) {
    return edge.top + (1 - value / this.top) * (height - edge.top - edge.bottom);
  }

  readout() {
    const value = this.values[this.chosen];
    return `${time(this.at[this.chosen], this.now)}: ${value === null ? 'none' : this.kind.write(value)}`;
  }

  draw() {
    this.width = this.svg.clientWidth;
    if (this.now === undefined || this.width === 0) return;
    const known = this.values.filter((v) => v !== null);
    const highest = Math.max(0, ...known);
    this.top = ceiling(Math.max(highest, this.kind.least));
    this.write(highest);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${height}`);
    this.svg.replaceChildren(...this.axes(), ...this.line(), ...this.reading());
  }

  write(highest) {
    const { kind } = this;
    setText(this.number, this.current === undefined ? '–' : kind.write(this.current));
    setText(this.note, this.chosen === undefined ? this.limit ?? (highest > 0 ? `at most ${kind.write(highest)}` : '') : this.readout());
    this.note.classList.toggle('reads', this.chosen !== undefined);
    this.svg.setAttribute('aria-label', `${kind.title}: now ${this.number.textContent}, at most ${kind.write(highest)} in the last ten minutes. Read it with the arrow keys.`);
  }

  axes() {
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(this.y(this.top * share)) + 0.5;
      parts.push(svg('line', { class: share === 0 ? 'axis' : 'grid', x1: edge.left, x2: this.width - edge.right, y1: y, y2: y }));
      parts.push(svg('text', { class: 'tick', x: edge.left - 7, y: y + 3.5, 'text-anchor': 'end' }, short(this.top * share)));
    }
    for (const [minutes, anchor] of [[10, 'start'], [5, 'middle'], [0, 'end']]) {
      const x = this.x(this.now - minutes * 60000);
      parts.push(svg('text', { class: 'tick', x, y: height - 4, 'text-anchor': anchor }, minutes === 0 ? 'now' : `−${minutes} min`));
    }
    return parts;
  }

  line() {
    const parts = [];
    for (const run of runs(this.values)) {
      const points = run.map((i) => `${this.x(this.at[i]).toFixed(1)} ${this.y(this.values[i]).toFixed(1)}`);
      const [first, last] = [this.x(this.at[run[0]]), this.x(this.at[run.at(-1)])];
      if (run.length === 1) {
        parts.push(svg('circle', { class: 'dot', cx: first, cy: this.y(this.values[run[0]]), r: 1.75 }));
        continue;
      }
      parts.push(svg('path', { class: 'area', d: `M${first.toFixed(1)} ${this.y(0)}L${points.join('L')}L${last.toFixed(1)} ${this.y(0)}Z` }));
      parts.push(svg('path', { class: 'line', d: `M${points.join('L')}` }));
    }
    return parts;
  }

  reading() {
    if (this.chosen === undefined) return [];
    const x = this.x(this.at[this.chosen]);
    const value = this.values[this.chosen];
    const parts = [svg('line', { class: 'cursor', x1: x, x2: x, y1: edge.top, y2: height - edge.bottom })];
    if (value !== null) parts.push(svg('circle', { class: 'mark', cx: x, cy: this.y(value), r: 4 }));
    return parts;
  }
}

/** The stretches of indexes without a hole. */
function runs(values) {
  const all = [];
  values.forEach((v, i) => {
    if (v === null) return;
    if (i > 0 && values[i - 1] !== null && all.length > 0) all.at(-1).push(i);
    else all.push([i]);
  });
  return all;
}

/** The next number that reads well and can be halved: 1, 2, 4, 6, 8 or 10 times a power of ten. */
function ceiling(n) {
  const unit = 10 ** Math.floor(Math.log10(n));
  return unit * [1, 2, 4, 6, 8, 10].find((m) => m * unit >= n * 0.999999);
}

/** A number for an axis: 12k. */
function short(n) {
  for (const [size, unit] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (n >= size) return `${Number((n / size).toPrecision(3))}${unit}`;
  }
  return String(Number(n.toPrecision(3)));
}
