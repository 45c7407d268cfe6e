import type { Timing } from './types.ts';

/**
 * How a request is made: `hold`: the server may wait for messages; `poll` and `hidden`: it answers at once,
 * at the interval for visible and for hidden pages; `lookUp`: it answers at once, and the next is not to wait.
 */
export type Mode = 'hold' | 'poll' | 'hidden' | 'lookUp';

/** How a request ended, as far as the next one depends on it. */
export type Result =
  /** A good answer that moved a position. */
  | { readonly kind: 'moved' }
  /** A good answer without anything new. */
  | { readonly kind: 'quiet' }
  /** A proxy kept the answer back. */
  | { readonly kind: 'buffered' }
  | { readonly kind: 'failed' }
  /** The server asked to wait so many milliseconds. */
  | { readonly kind: 'refused'; readonly retryAfter: number };

const firstBackoff = 1_000;
/** What ends sooner with nothing was not held: the server is full, or something in between ends it. */
const leastHold = 1_000;
/** The longest wait that a server may ask for. Timers have a limit, too, beyond which they fire at once. */
const mostRetryAfter = 3_600_000;

/** Decides when the next request goes out. */
export class Schedule {
  private readonly _timing: Timing;
  private readonly _random: () => number;
  private _failures = 0;

  /** `random` returns numbers from 0 up to, not including, 1. */
  constructor(timing: Timing, random: () => number) {
    this._timing = timing;
    this._random = random;
  }

  /** Milliseconds from now to the next request, when the last one took `elapsed` milliseconds. */
  next(result: Result, mode: Mode, elapsed: number): number {
    return Math.max(this._timing.minPollInterval, this._delay(result, mode, elapsed));
  }

  private _delay(result: Result, mode: Mode, elapsed: number): number {
    switch (result.kind) {
      case 'refused':
        // A refusal is no failure: the server works, and has said when to come back. Not all at once, though.
        return Math.min(result.retryAfter, mostRetryAfter) * (1 + 0.1 * this._random());
      case 'failed':
        return this._backoff(elapsed);
      case 'buffered':
        return 0;
      default:
        this._failures = 0;
        return isPrompt(result.kind, mode, elapsed) ? 0 : this._interval(mode) - elapsed;
    }
  }

  private _backoff(elapsed: number): number {
    const { callbackInterval, maxPollInterval } = this._timing;
    // A connection that held so long was healthy. Judging by its first part instead would never back off from
    // a server that sends one good part and then breaks.
    this._failures = elapsed >= callbackInterval ? 1 : this._failures + 1;
    return this._random() * Math.min(maxPollInterval, firstBackoff * 2 ** (this._failures - 1));
  }

  private _interval(mode: Mode): number {
    return mode === 'hidden' ? this._timing.backgroundCallbackInterval : this._timing.callbackInterval;
  }
}

function isPrompt(kind: 'moved' | 'quiet', mode: Mode, elapsed: number): boolean {
  if (kind === 'moved') return mode === 'hold' || mode === 'lookUp';
  return mode === 'hold' && elapsed >= leastHold;
}
