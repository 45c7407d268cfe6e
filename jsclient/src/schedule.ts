import type { Timing } from './types.ts';

/**
 * How a request is made: `hold`: the server may wait for messages; `hidden`: it answers at once, for a page that is
 * not seen; `lookUp`: it answers at once, and the next is not to wait.
 */
export type Mode = 'hold' | 'hidden' | 'lookUp';

/** How a request ended, as far as the next one depends on it. */
export type Result =
  /** A good answer that moved a position. */
  | 'moved'
  /** A good answer without anything new. */
  | 'quiet'
  /** Nothing came, and it is to be asked anew in another way. */
  | 'again'
  | 'failed';

/**
 * Milliseconds from now to the next request, when the last one took `elapsed` milliseconds. `retryAfter` is how many
 * the server has asked to wait; `worked`: something good has come since the last failure.
 */
export type Schedule = (result: Result, mode: Mode, elapsed: number, retryAfter?: number, worked?: boolean) => number;

const firstBackoff = 1_000;
/** What ends sooner with nothing was not held: the server is full, or something in between ends it. */
const leastHold = 1_000;
/** The longest wait that a server may ask for. Timers have a limit, too, beyond which they fire at once. */
const mostRetryAfter = 3_600_000;

/** Decides when the next request goes out. `random` returns numbers from 0 up to, not including, 1. */
export function createSchedule(timing: Timing, random: () => number): Schedule {
  let failures = 0;

  return (result, mode, elapsed, retryAfter = 0, worked) => {
    let wait = 0;
    if (result === 'failed') {
      // A connection that held so long was healthy, or pages whose servers are replaced one by one would wait longer
      // each time. The good part alone would never back off from a server that sends one and then breaks.
      if (elapsed >= (worked ? leastHold : timing.callbackInterval)) failures = 0;
      const backoff = random() * Math.min(timing.maxPollInterval, firstBackoff * 2 ** failures++);
      // Not all at the very moment that the server has named; and one that always says "now" is not believed.
      wait = Math.max(backoff, Math.min(retryAfter, mostRetryAfter) * (1 + 0.1 * random()));
    } else if (result !== 'again') {
      failures = 0;
      const goesOn = result === 'moved' ? mode !== 'hidden' : mode === 'hold' && elapsed >= leastHold;
      if (!goesOn) wait = (mode === 'hidden' ? timing.backgroundCallbackInterval : timing.callbackInterval) - elapsed;
    }
    return Math.max(timing.minPollInterval, wait);
  };
}
