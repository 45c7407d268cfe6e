import type { MessageBusSettings } from './settings.ts';

/** How a request ended. */
export type End =
  | { readonly kind: 'quiet' | 'data' | 'again' | 'aborted' }
  | { readonly kind: 'failed'; readonly inARow: number }
  | { readonly kind: 'limited'; readonly retryAfter: string | null };

type Intervals = Pick<
  MessageBusSettings,
  'minPollInterval' | 'maxPollInterval' | 'callbackInterval' | 'backgroundCallbackInterval'
>;

const leastInterval = 100;
const leastRetryAfter = 15;
/** So many failures are taken for bad luck. */
const mostTolerated = 2;

/**
 * Milliseconds from the end of a request to the next one. `elapsed` is what the request took, `held` whether
 * requests are held at present, and `random` a number from 0 to 1, by which waits after failures are shortened,
 * so that not all clients of a server that was down come back in one instant.
 */
export function nextDelay(end: End, held: boolean, elapsed: number, intervals: Intervals, random: number): number {
  const { minPollInterval, maxPollInterval, callbackInterval, backgroundCallbackInterval } = intervals;
  const interval = (held ? callbackInterval : backgroundCallbackInterval) - elapsed;
  switch (end.kind) {
    case 'limited':
      return Math.max(minPollInterval, secondsOf(end.retryAfter) * 1000);
    case 'aborted':
    case 'again':
      return minPollInterval;
    case 'data':
      return held ? minPollInterval : Math.max(leastInterval, interval);
    case 'failed': {
      const wait = end.inARow > mostTolerated ? Math.min(callbackInterval * end.inARow, maxPollInterval) : interval;
      return Math.max(leastInterval, wait * (1 - random / 4));
    }
    default:
      return Math.max(leastInterval, interval);
  }
}

function secondsOf(retryAfter: string | null): number {
  return Math.max(leastRetryAfter, Number.parseInt(retryAfter ?? '', 10) || 0);
}
