import { MessageBusError } from './errors.ts';
import type { Settings } from './options.ts';
import { isPageHidden, watchPage } from './page.ts';
import { planRequest, type Position, type Step } from './positions.ts';
import { Schedule, type Mode, type Result } from './schedule.ts';
import type { Change, Exchange, Outcome, Receiver } from './transport.ts';
import type { Gap, Status } from './types.ts';
import { entriesOf, gapChannel, standsAt, statusChannel, type WireMessage } from './wire.ts';

/** A gap as it stands in an answer. */
export interface WireGap extends Gap {
  readonly epoch?: string;
}

/** What an engine knows of a subscription. */
export interface Entry {
  readonly position: Position;
}

/** What an engine tells its owner. Each may call back into the engine. */
export interface Owner<E extends Entry> {
  /** A message that is new to a subscription. */
  deliver(entry: E, message: WireMessage, late: boolean): void;
  /** Messages may be lost to these. */
  gap(gap: WireGap, entries: readonly E[]): void;
  /** A part has been taken to its end. */
  taken(first: boolean): void;
  refused(channels: readonly string[]): void;
  status(status: Status): void;
  error(error: MessageBusError): void;
}

/** The request under way. */
interface Run {
  readonly controller: AbortController;
  readonly mode: Mode;
  readonly startedAt: number;
  heardAt: number;
  channels: readonly string[];
  /** Whether any position has moved. */
  moved: boolean;
  change: Change | undefined;
}

/** Why no request is under way: `refused` waits are kept in any case, `failed` ones unless the page comes back. */
type Wait = 'interval' | 'failed' | 'refused';

/** What was silent for so long while the page was hidden is not trusted when it shows again. */
const staleAfter = 30_000;

/** Keeps one request under way for all subscriptions, and moves their positions by what it brings. */
export class Engine<E extends Entry> {
  clientId: string;
  private readonly _settings: Settings;
  private readonly _schedule: Schedule;
  private readonly _owner: Owner<E>;
  private readonly _exchange: Exchange;
  private readonly _poll: Exchange;

  private _status: Status = 'stopped';
  /** Replaced at each change, never changed in place: callbacks subscribe while the list is gone through. */
  private _entries: readonly E[] = [];
  /** Set while the engine is started. */
  private _unwatch: (() => void) | undefined;
  /** At most one of the request and the timer is set. */
  private _run: Run | undefined;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _wait: Wait = 'interval';
  private _lastStart = Number.NEGATIVE_INFINITY;
  private _sequence: number;
  private _unstreamedLeft = 0;
  private _changePending = false;
  private _away = false;

  /** `exchange` is used for what may be held, `poll` for what is to be answered at once. */
  constructor(settings: Settings, owner: Owner<E>, exchange: Exchange, poll: Exchange, sequence: number = 0) {
    this.clientId = settings.clientId;
    this._settings = settings;
    this._owner = owner;
    this._exchange = exchange;
    this._poll = poll;
    this._sequence = sequence;
    this._schedule = new Schedule(settings.timing, Math.random);
  }

  get status(): Status {
    return this._status;
  }

  get entries(): readonly E[] {
    return this._entries;
  }

  get started(): boolean {
    return this._unwatch !== undefined;
  }

  start(): void {
    if (this._unwatch) return;
    this._unwatch = watchPage({
      onReturn: () => this.hurry(),
      onRenew: () => this._renew(),
      onLeave: () => this._leave(),
    });
    this._away = false;
    this._setStatus('connecting');
    this._requestChange();
  }

  stop(): void {
    this._unwatch?.();
    this._unwatch = undefined;
    this._halt();
    this._setStatus('stopped');
  }

  /** Somebody looks: the page shows again, or the network is back. */
  hurry(): void {
    if (this._away) return;
    // What a hidden page asks is answered at once, and followed by nothing for a minute.
    if (this._run && (this._run.mode === 'hidden' || Date.now() - this._run.heardAt > staleAfter)) this._cut();
    this._hurry('failed');
  }

  add(entry: E): void {
    const joined = this._run !== undefined && this._entries.some(({ position }) => entry.position.follow(position));
    this._entries = [...this._entries, entry];
    if (!joined) this._requestChange();
  }

  /** Removes what matches, and returns whether there was any. */
  remove(matches: (entry: E) => boolean): boolean {
    const kept = this._entries.filter((entry) => !matches(entry));
    if (kept.length === this._entries.length) return false;
    this._entries = kept;
    this._requestChange();
    return true;
  }

  private _renew(): void {
    if (this._away) this._setStatus('connecting');
    this._away = false;
    this._cut();
    this._hurry('failed');
  }

  private _leave(): void {
    this._away = true;
    this._halt();
    this._setStatus('away');
  }

  private _halt(): void {
    this._cut();
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  /** Starts the request anew, once for all changes of this tick. */
  private _requestChange(): void {
    if (this._changePending || !this._unwatch) return;
    this._changePending = true;
    queueMicrotask(() => {
      this._changePending = false;
      if (this._changeRun()) return;
      this._cut();
      this._hurry('interval');
    });
  }

  /** Tells the connection of the changes, if it can take them. */
  private _changeRun(): boolean {
    const run = this._run;
    if (!run?.change) return false;
    const channels = [...new Set(this._entries.map(({ position }) => position.channel))];
    const joined = new Set(this._entries.filter(({ position }) => !position.aimed || !run.channels.includes(position.channel)).map(({ position }) => position.channel));
    const positions = this._entries.map(({ position }) => position).filter(({ channel }) => joined.has(channel));
    const plan = planRequest(positions);
    if (plan.lookUp || channels.length === 0) return false;
    run.change(run.channels.filter((channel) => !channels.includes(channel)), plan);
    run.channels = channels;
    return true;
  }

  private _cut(): void {
    this._run?.controller.abort();
    this._run = undefined;
  }

  /** Sends the next request at once, unless one is under way or the wait is a graver one than `wait`. */
  private _hurry(wait: 'interval' | 'failed'): void {
    if (this._run || !this._unwatch || this._away) return;
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
    if (this._entries.length === 0) return;
    const plan = planRequest(this._entries.map(({ position }) => position));
    const mode = this._mode(plan.lookUp);
    const now = Date.now();
    const run: Run = {
      controller: new AbortController(),
      mode,
      startedAt: now,
      heardAt: now,
      channels: plan.fields.map(([channel]) => channel),
      moved: false,
      change: undefined,
    };
    this._run = run;
    this._lastStart = now;
    this._sequence += 1;
    const poll = { clientId: this.clientId, plan, sequence: this._sequence, mode, streaming: this._takeStreaming(mode) };
    const exchange = mode === 'hold' ? this._exchange : this._poll;
    const outcome = await exchange(this._settings, poll, run.controller, this._receiver(run));
    // Of a request that was cut off, nothing counts: its successor is already under way.
    if (this._run === run) this._finish(run, outcome);
  }

  private _receiver(run: Run): Receiver {
    const current = (take: () => void): void => {
      if (this._run === run) take();
    };
    return {
      part: (part, first, stands) => current(() => this._take(run, part, first, stands ?? standsAt(part))),
      epoch: (epoch) => current(() => this._entries.forEach(({ position }) => position.meet(epoch))),
      refused: (channels) => current(() => this._owner.refused(channels)),
      fail: (error) => current(() => this._fail(error)),
      changeBy: (change) => {
        run.change = change;
      },
    };
  }

  private _mode(lookUp: boolean): Mode {
    if (lookUp) return 'lookUp';
    // Pages that share a connection stay on it: the one that has it knows whether all are hidden.
    if (isPageHidden() && !this._settings.share) return 'hidden';
    return this._settings.longPolling ? 'hold' : 'poll';
  }

  private _takeStreaming(mode: Mode): boolean {
    if (mode !== 'hold' || this._settings.transport === 'poll') return false;
    if (this._unstreamedLeft < 1) return true;
    this._unstreamedLeft -= 1;
    return false;
  }

  private _finish(run: Run, outcome: Outcome): void {
    this._run = undefined;
    if (outcome.kind === 'buffered' && this._settings.transport === 'auto') {
      this._unstreamedLeft = this._settings.timing.retryChunkedAfterRequests;
    }
    const result = resultOf(run, outcome);
    const wait = result.kind === 'failed' || result.kind === 'refused' ? result.kind : 'interval';
    this._sendIn(this._schedule.next(result, run.mode, sinceTime(run.startedAt)), wait);
    // Listeners come last, since they may stop the client.
    if ('error' in outcome) this._fail(outcome.error);
  }

  private _fail(error: MessageBusError): void {
    this._setStatus('retrying');
    this._owner.error(error);
  }

  private _setStatus(status: Status): void {
    if (this._status === status) return;
    this._status = status;
    this._owner.status(status);
  }

  /** Takes one part: gaps, then messages by global id, then statuses. Stops where a callback stops the client. */
  private _take(run: Run, part: readonly WireMessage[], first: boolean, stands: number): void {
    run.heardAt = Date.now();
    this._setStatus('connected');
    for (const message of part) if (message.channel === gapChannel) this._takeGaps(run, message.data);
    for (const message of inOrder(part)) this._takeMessage(run, message, stands);
    for (const message of part) if (message.channel === statusChannel) this._takeStatus(run, message.data);
    if (first) for (const { position } of this._entries) if (this._run === run && position.endBacklog()) run.moved = true;
    if (this._run === run) this._owner.taken(first);
  }

  private _takeMessage(run: Run, message: WireMessage, stands: number): void {
    const { channel, message_id: id, global_id: globalId } = message;
    this._stepAll(run, channel, (position) => position.advance(id, globalId, stands), (entry, late) => this._owner.deliver(entry, message, late));
  }

  private _takeStatus(run: Run, data: unknown): void {
    for (const [channel, lastId] of entriesOf(data)) {
      if (Number.isSafeInteger(lastId)) {
        this._stepAll(run, channel, (position) => position.settle(lastId as number), () => {});
      }
    }
  }

  /** Moves all positions of a channel, and calls back for those that moved. They fall into the same gap. */
  private _stepAll(run: Run, channel: string, step: (position: Position) => Step, onMoved: (entry: E, late: boolean) => void): void {
    let told = false;
    for (const entry of this._entriesOf(channel)) {
      if (!this._concerns(run, entry)) continue;
      const { moved, gap, late } = step(entry.position);
      run.moved ||= moved;
      if (gap && !told) this._owner.gap(gap, this._entriesOf(channel));
      told ||= gap !== undefined;
      if (moved && this._concerns(run, entry)) onMoved(entry, late === true);
    }
  }

  private _takeGaps(run: Run, data: unknown): void {
    for (const [channel, value] of entriesOf(data)) {
      if (this._run !== run) return;
      const gap = toGap(channel, value);
      if (!gap) {
        const sent = JSON.stringify(value);
        this._owner.error(new MessageBusError('answer', `the server reports a gap of ${channel} as ${sent}`));
        continue;
      }
      const entries = this._entriesOf(channel);
      for (const { position } of entries) {
        if (gap.reason === 'reset') position.restartAt(gap.next);
        if (gap.epoch && position.aimed) position.epoch = gap.epoch;
      }
      this._owner.gap(gap, entries);
    }
  }

  private _entriesOf(channel: string): E[] {
    return this._entries.filter(({ position }) => position.channel === channel);
  }

  /** False once a callback has stopped the client or ended the subscription. */
  private _concerns(run: Run, entry: E): boolean {
    return this._run === run && this._entries.includes(entry);
  }
}

/** The messages of a part by global id. Ruby servers sort by message id, which differs where ids started again. */
function inOrder(part: readonly WireMessage[]): WireMessage[] {
  return part
    .filter(({ channel }) => channel !== statusChannel && channel !== gapChannel)
    .sort((a, b) => a.global_id - b.global_id);
}

function resultOf(run: Run, outcome: Outcome): Result {
  if (outcome.kind === 'answered') return { kind: run.moved ? 'moved' : 'quiet' };
  return outcome.kind === 'moved' ? { kind: 'buffered' } : outcome;
}

function toGap(channel: string, value: unknown): WireGap | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { after, next, reason, epoch } = value as Partial<WireGap>;
  if (!Number.isSafeInteger(after) || !Number.isSafeInteger(next) || typeof reason !== 'string') return undefined;
  const gap = { channel, after: after as number, next: next as number, reason };
  return typeof epoch === 'string' ? { ...gap, epoch } : gap;
}

/** Milliseconds since then. A clock that was put back counts as no time at all. */
function sinceTime(then: number): number {
  return Math.max(0, Date.now() - then);
}
