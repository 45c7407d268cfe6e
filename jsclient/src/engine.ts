import { takePart, type Entry, type Owner } from './answer.ts';
import { MessageBusError } from './errors.ts';
import type { Settings } from './options.ts';
import { isPageHidden, watchPage } from './page.ts';
import { planRequest } from './plan.ts';
import type { Position } from './positions.ts';
import { createSchedule, type Mode, type Result } from './schedule.ts';
import { again, type Exchange, type Run } from './transport.ts';
import type { Status } from './types.ts';

/** Keeps one request under way for all subscriptions, and moves their positions by what it brings. */
export interface Engine<E extends Entry> {
  readonly status: Status;
  readonly subscriptions: readonly E[];
  start(): void;
  stop(): void;
  /** Somebody looks: the page shows again, or the network is back. */
  hurry(): void;
  /** Adds a subscription; `joined`: what is under way serves it. */
  add(entry: E, joined?: boolean): void;
  /** Removes what matches, and returns whether there was any. */
  remove(matches: (entry: E) => boolean): boolean;
}

/** Why no request is under way, by what may cut the wait short: anything; only the page's coming back; nothing. */
const interval = 0;
const failure = 1;
const request = 2;

/** What was silent for so long while the page was hidden is not trusted when it shows again. */
const staleAfter = 30_000;

/**
 * Makes an engine. `held` is used for requests that may be held, `polled` for those that are to be answered at once;
 * the first request is number `sequence` + 1.
 */
export function createEngine<E extends Entry>(
  settings: Settings,
  owner: Owner<E>,
  held: Exchange,
  polled: Exchange,
  sequence: number = 0,
): Engine<E> {
  const { timing, transport } = settings;
  const nextDelay = createSchedule(timing, Math.random);
  let status: Status = 'stopped';
  /** Replaced at each change, never changed in place: callbacks subscribe while the list is gone through. */
  let entries: readonly E[] = [];
  /** Set while the engine is started. */
  let unwatch: (() => void) | undefined;
  /** At most one of the request and the timer is set. */
  let run: Run | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Of the timer. */
  let reason = interval;
  let startedAt = -Infinity;
  let heardAt = 0;
  let unstreamedLeft = 0;
  let changePending = false;
  /** Each is told once. */
  const refusals: string[] = [];

  const positions = (): Position[] => entries.map(({ position }) => position);

  const setStatus = (next: Status): void => {
    if (status === next) return;
    status = next;
    owner.emit('status', next);
  };

  const fail = (error: MessageBusError): void => {
    setStatus('retrying');
    owner.emit('error', error);
  };

  /** Milliseconds since the last request began. A clock that was put back counts as no time at all. */
  const elapsed = (): number => Math.max(0, Date.now() - startedAt);

  const cut = (): void => {
    run?.controller.abort();
    run = undefined;
  };

  const halt = (): void => {
    cut();
    clearTimeout(timer);
    timer = undefined;
  };

  const sendIn = (delay: number, why: number): void => {
    clearTimeout(timer);
    reason = why;
    if (delay > 0) timer = setTimeout(send, delay);
    else void send();
  };

  /** Sends the next request at once, unless one is under way or the reason of the wait is a graver one. */
  const sendNow = (gravest: number): void => {
    if (run || !unwatch || status === 'away' || (timer !== undefined && reason > gravest)) return;
    sendIn(timing.minPollInterval - elapsed(), interval);
  };

  /** Has the request follow the subscriptions, once for all changes of this tick. */
  const follow = (): void => {
    if (changePending || !unwatch) return;
    changePending = true;
    queueMicrotask(() => {
      changePending = false;
      if (run?.change?.(positions())) return;
      cut();
      sendNow(interval);
    });
  };

  // Pages that share a connection stay on it: the one that has it knows whether all are hidden.
  const modeFor = (lookUp: boolean): Mode => (lookUp ? 'lookUp' : isPageHidden() && !settings.share ? 'hidden' : 'hold');

  const send = async (): Promise<void> => {
    timer = undefined;
    if (entries.length === 0) return;
    startedAt = heardAt = Date.now();
    sequence += 1;
    let moved = false;
    const plan = planRequest(positions());
    const mode = modeFor(plan.lookUp);
    const controller = new AbortController();
    const mine: Run = {
      plan,
      mode,
      sequence,
      streaming: mode === 'hold' && transport !== 'poll' && --unstreamedLeft < 0,
      controller,
      take: ({ part, first = false, stands, epoch = '', refused = [], error }) => {
        if (run !== mine) return;
        positions().forEach((position) => position.meet(epoch));
        const fresh = refused.filter((channel) => !refusals.includes(channel));
        refusals.push(...fresh);
        if (fresh.length > 0) owner.emit('refused', fresh);
        if (error) fail(error);
        if (!part) return;
        heardAt = Date.now();
        setStatus('connected');
        if (takePart(part, first, stands, owner, () => (run === mine ? entries : []))) moved = true;
        if (run === mine) owner.taken?.(first);
      },
    };
    run = mine;
    let result: Result = 'failed';
    let error: MessageBusError | undefined;
    try {
      await (mode === 'hold' ? held : polled)(settings, mine);
      result = moved ? 'moved' : 'quiet';
    } catch (thrown) {
      const cause: unknown = controller.signal.reason ?? thrown;
      if (cause === again) result = again;
      else error = cause instanceof MessageBusError ? cause : new MessageBusError('request', 'no answer', { cause });
    }
    // Whatever is left of the answer is not wanted: an error's body, or a stream behind a part that made no sense.
    controller.abort();
    // Of a request that was cut off, nothing counts: its successor is already under way.
    if (run !== mine) return;
    run = undefined;
    if (result === again && transport === 'auto') unstreamedLeft = timing.retryChunkedAfterRequests;
    const wait = nextDelay(result, mode, elapsed(), error?.retryAfter, status === 'connected');
    sendIn(wait, !error ? interval : error.retryAfter ? request : failure);
    // Listeners come last, since they may stop the client.
    if (error) fail(error);
  };

  const hurry = (): void => {
    // What a hidden page asks is answered at once, and followed by nothing for a minute.
    if (run?.mode === 'hidden' || Date.now() - heardAt > staleAfter) cut();
    sendNow(failure);
  };

  /** What was open is not trusted any more, or there is nothing open. */
  const renew = (): void => {
    if (status === 'away') setStatus('connecting');
    cut();
    sendNow(failure);
  };

  return {
    get status() {
      return status;
    },
    get subscriptions() {
      return entries;
    },
    start: () => {
      if (unwatch) return;
      unwatch = watchPage({
        onReturn: hurry,
        onRenew: renew,
        onLeave: () => {
          halt();
          setStatus('away');
        },
      });
      setStatus('connecting');
      follow();
    },
    stop: () => {
      unwatch?.();
      unwatch = undefined;
      halt();
      setStatus('stopped');
    },
    hurry,
    add: (entry, joined) => {
      entries = [...entries, entry];
      if (!joined) follow();
    },
    remove: (matches) => {
      const kept = entries.filter((entry) => !matches(entry));
      if (kept.length === entries.length) return false;
      entries = kept;
      follow();
      return true;
    },
  };
}
