import { Emitter } from './events.ts';
import { MessageBusError } from './errors.ts';
import { resolveOptions, type Settings } from './options.ts';
import { isPageHidden, watchPage } from './page.ts';
import { planRequest, Position, type Step } from './positions.ts';
import { Schedule, type Mode, type Result } from './schedule.ts';
import { exchange, type Connection, type Outcome, type WireMessage } from './transport.ts';
import type { Callback, Client, ClientOptions, Events, From, Gap, Message, Status } from './types.ts';

const statusChannel = '/__status';
const gapChannel = '/__gap';

/**
 * Makes a client. It sends nothing before `start`.
 *
 * Throws a TypeError that names the option, where one cannot be used.
 */
export function createClient(options: ClientOptions = {}): Client {
  return new PollingClient(resolveOptions(options));
}

interface Subscription {
  readonly position: Position;
  readonly callback: Callback<never>;
}

/** The request under way. */
interface Run {
  readonly controller: AbortController;
  readonly mode: Mode;
  readonly startedAt: number;
  parts: number;
  /** Whether any position has moved. */
  moved: boolean;
}

/** Why no request is under way: `refused` waits are kept in any case, `failed` ones unless the page comes back. */
type Wait = 'interval' | 'failed' | 'refused';

class PollingClient implements Client {
  readonly clientId: string;
  private readonly _settings: Settings;
  private readonly _connection: Connection;
  private readonly _schedule: Schedule;
  private readonly _events = new Emitter();

  private _status: Status = 'stopped';
  /** Replaced at each change, never changed in place: callbacks subscribe while the list is gone through. */
  private _subscriptions: readonly Subscription[] = [];
  /** Set while the client is started. */
  private _unwatch: (() => void) | undefined;
  /** At most one of the request and the timer is set. */
  private _run: Run | undefined;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _wait: Wait = 'interval';
  private _lastStart = Number.NEGATIVE_INFINITY;
  private _sequence = 0;
  private _unstreamedLeft = 0;
  private _changePending = false;

  constructor(settings: Settings) {
    this.clientId = settings.clientId;
    this._settings = settings;
    this._connection = { ...settings, ...settings.timing };
    this._schedule = new Schedule(settings.timing, Math.random);
  }

  get status(): Status {
    return this._status;
  }

  start(): void {
    if (this._unwatch) return;
    this._unwatch = watchPage(() => this._hurry('failed'));
    this._setStatus('connecting');
    this._requestChange();
  }

  stop(): void {
    this._unwatch?.();
    this._unwatch = undefined;
    this._cut();
    clearTimeout(this._timer);
    this._timer = undefined;
    this._setStatus('stopped');
  }

  subscribe<T = unknown>(channel: string, callback: Callback<T>, options: { readonly from?: From } = {}): () => void {
    checkChannel(channel);
    const subscription = { position: new Position(channel, options.from ?? 'latest'), callback };
    this._subscriptions = [...this._subscriptions, subscription];
    this._requestChange();
    return () => {
      this._remove((other) => other === subscription);
    };
  }

  unsubscribe<T = unknown>(channel: string, callback?: Callback<T>): boolean {
    return this._remove(
      (subscription) =>
        subscription.position.channel === channel && (callback === undefined || subscription.callback === callback),
    );
  }

  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void {
    return this._events.on(event, listener);
  }

  private _remove(matches: (subscription: Subscription) => boolean): boolean {
    const kept = this._subscriptions.filter((subscription) => !matches(subscription));
    if (kept.length === this._subscriptions.length) return false;
    this._subscriptions = kept;
    this._requestChange();
    return true;
  }

  /** Starts the request anew, once for all changes of this tick. */
  private _requestChange(): void {
    if (this._changePending || !this._unwatch) return;
    this._changePending = true;
    queueMicrotask(() => {
      this._changePending = false;
      this._cut();
      this._hurry('interval');
    });
  }

  private _cut(): void {
    this._run?.controller.abort();
    this._run = undefined;
  }

  /** Sends the next request at once, unless one is under way or the wait is a graver one than `wait`. */
  private _hurry(wait: 'interval' | 'failed'): void {
    if (this._run || !this._unwatch) return;
    const graver = this._wait === 'refused' || (this._wait === 'failed' && wait === 'interval');
    if (graver && this._timer !== undefined) return;
    this._sendIn(this._settings.timing.minPollInterval - sinceTime(this._lastStart), 'interval');
  }

  private _sendIn(delay: number, wait: Wait): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._wait = wait;
    if (delay <= 0) void this._send();
    else this._timer = setTimeout(() => void this._send(), delay);
  }

  private async _send(): Promise<void> {
    this._timer = undefined;
    if (this._subscriptions.length === 0) return;
    const plan = planRequest(this._subscriptions.map(({ position }) => position));
    const mode = this._mode(plan.lookUp);
    const run: Run = { controller: new AbortController(), mode, startedAt: Date.now(), parts: 0, moved: false };
    this._run = run;
    this._lastStart = run.startedAt;
    this._sequence += 1;
    const poll = {
      url: this._url(mode),
      fields: [...plan.fields, ['__seq', this._sequence] as const],
      streaming: this._takeStreaming(mode),
    };
    const outcome = await exchange(this._connection, poll, run.controller, (part) => this._take(run, part));
    // Of a request that was cut off, nothing counts: its successor is already under way.
    if (this._run === run) this._finish(run, outcome);
  }

  private _mode(lookUp: boolean): Mode {
    if (lookUp) return 'lookUp';
    if (isPageHidden()) return 'hidden';
    return this._settings.longPolling ? 'hold' : 'poll';
  }

  private _url(mode: Mode): string {
    return `${this._settings.baseUrl}message-bus/${this.clientId}/poll${mode === 'hold' ? '' : '?dlp=t'}`;
  }

  private _takeStreaming(mode: Mode): boolean {
    if (mode !== 'hold' || !this._settings.streaming) return false;
    if (this._unstreamedLeft < 1) return true;
    this._unstreamedLeft -= 1;
    return false;
  }

  private _finish(run: Run, outcome: Outcome): void {
    this._run = undefined;
    if (outcome.kind === 'buffered') this._unstreamedLeft = this._settings.timing.retryChunkedAfterRequests;
    const result = resultOf(run, outcome);
    const wait = result.kind === 'failed' || result.kind === 'refused' ? result.kind : 'interval';
    this._sendIn(this._schedule.next(result, run.mode, sinceTime(run.startedAt)), wait);
    // Listeners come last, since they may stop the client.
    if ('error' in outcome) this._reportFailure(outcome.error);
  }

  private _reportFailure(error: MessageBusError): void {
    this._setStatus('retrying');
    this._events.emit('error', error);
  }

  private _setStatus(status: Status): void {
    if (this._status === status) return;
    this._status = status;
    this._events.emit('status', status);
  }

  /** Takes one part: gaps, then messages by global id, then statuses. Stops where a callback stops the client. */
  private _take(run: Run, part: readonly WireMessage[]): void {
    run.parts += 1;
    this._setStatus('connected');
    for (const message of part) if (message.channel === gapChannel) this._takeGaps(run, message.data);
    for (const message of inOrder(part)) this._takeMessage(run, message);
    for (const message of part) if (message.channel === statusChannel) this._takeStatus(run, message.data);
    if (run.parts === 1) this._endBacklog(run);
  }

  private _takeMessage(run: Run, wire: WireMessage): void {
    const { channel, message_id: id, global_id: globalId, data } = wire;
    const message: Message = { channel, id, globalId, data };
    this._stepAll(run, channel, (position) => position.advance(id, globalId), (callback) => {
      this._events.guard(`a callback of ${channel}`, () => callback(data, message));
    });
  }

  private _takeStatus(run: Run, data: unknown): void {
    for (const [channel, lastId] of entriesOf(data)) {
      if (Number.isSafeInteger(lastId)) {
        this._stepAll(run, channel, (position) => position.settle(lastId as number), () => {});
      }
    }
  }

  /**
   * Moves all positions of a channel, and calls back for those that moved. They fall into the same gap, which
   * is told once.
   */
  private _stepAll(
    run: Run,
    channel: string,
    step: (position: Position) => Step,
    onMoved: (callback: Callback) => void,
  ): void {
    let told = false;
    for (const subscription of this._subscriptionsTo(channel)) {
      if (!this._concerns(run, subscription)) continue;
      const { moved, gap } = step(subscription.position);
      run.moved ||= moved;
      if (gap && !told) this._events.emit('gap', gap);
      told ||= gap !== undefined;
      if (moved && this._concerns(run, subscription)) onMoved(subscription.callback as Callback);
    }
  }

  private _takeGaps(run: Run, data: unknown): void {
    for (const [channel, value] of entriesOf(data)) {
      if (this._run !== run) return;
      const gap = toGap(channel, value);
      if (!gap) {
        const sent = JSON.stringify(value);
        this._events.emit('error', new MessageBusError('answer', `the server reports a gap of ${channel} as ${sent}`));
        continue;
      }
      if (gap.reason === 'reset') {
        for (const { position } of this._subscriptionsTo(channel)) position.restartAt(gap.next);
      }
      this._events.emit('gap', gap);
    }
  }

  private _endBacklog(run: Run): void {
    for (const { position } of this._subscriptions) {
      if (this._run === run && position.endBacklog()) run.moved = true;
    }
  }

  private _subscriptionsTo(channel: string): Subscription[] {
    return this._subscriptions.filter(({ position }) => position.channel === channel);
  }

  /** False once a callback has stopped the client or ended the subscription. */
  private _concerns(run: Run, subscription: Subscription): boolean {
    return this._run === run && this._subscriptions.includes(subscription);
  }
}

function checkChannel(channel: unknown): void {
  // Fields that begin so belong to the protocol.
  if (typeof channel === 'string' && channel !== '' && !channel.startsWith('__')) return;
  throw new TypeError(`channel is ${JSON.stringify(channel)}; it must be a string, not empty and not begin with __`);
}

/** The messages of a part by global id. Ruby servers sort by message id, which differs where ids started again. */
function inOrder(part: readonly WireMessage[]): WireMessage[] {
  return part
    .filter(({ channel }) => channel !== statusChannel && channel !== gapChannel)
    .sort((a, b) => a.global_id - b.global_id);
}

function resultOf(run: Run, outcome: Outcome): Result {
  if (outcome.kind === 'answered') return { kind: run.moved ? 'moved' : 'quiet' };
  return outcome;
}

function entriesOf(data: unknown): [string, unknown][] {
  return typeof data === 'object' && data !== null ? Object.entries(data) : [];
}

function toGap(channel: string, value: unknown): Gap | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { after, next, reason } = value as Partial<Gap>;
  if (!Number.isSafeInteger(after) || !Number.isSafeInteger(next) || typeof reason !== 'string') return undefined;
  return { channel, after: after as number, next: next as number, reason };
}

/** Milliseconds since then; a clock that was set back counts as no time. */
function sinceTime(then: number): number {
  return Math.max(0, Date.now() - then);
}
