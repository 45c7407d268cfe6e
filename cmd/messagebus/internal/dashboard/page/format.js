// Numbers, sizes and times as they are written on this page.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const three = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const count = (n) => whole.format(n);

/** One digit behind the point, so that a column of them is aligned. */
export const tenths = (n) => tenth.format(n);

/** A single number for people: as many digits as say something. */
export const amount = (n) => (n >= 100 ? whole.format(n) : three.format(n));

/** Below a tenth of a millisecond nobody wants to know. */
export const milliseconds = (n) => (n < 0.1 ? '< 0.1 ms' : `${amount(n)} ms`);

/** What 1,500,000 bytes are: 1.5 MB. */
export function bytes(n) {
  if (n < 1000) return `${whole.format(n)} B`;
  for (const unit of ['kB', 'MB', 'GB']) {
    n /= 1000;
    if (n < 1000 || unit === 'GB') return `${amount(n)} ${unit}`;
  }
}

const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const dated = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const exact = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short' });

/** The time of day; of another day than the given one, with its date. */
export function time(at, now) {
  return new Date(at).toDateString() === new Date(now).toDateString() ? clock.format(at) : dated.format(at);
}

export const exactTime = (at) => exact.format(at);

/** How long something took, in its two largest units: 3 h 12 min. */
export function duration(ms) {
  let left = Math.max(Math.floor(ms / 1000), 0);
  const parts = [];
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]]) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n > 0 || (unit === 's' && parts.length === 0)) parts.push(`${n} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}
