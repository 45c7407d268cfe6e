import { watchPage } from '../page.ts';
import { planRequest, type Plan } from '../plan.ts';
import { Position } from '../positions.ts';
import { epochHeader, gapChannel, isWhole, membersOf, standsAt, statusChannel, type ServerGap } from '../wire.ts';
import { ownAjax } from './ajax.ts';
import { Request, type Owner } from './request.ts';
import { nextDelay, type End } from './schedule.ts';
import type { MessageBusSettings, Subscribed } from './settings.ts';
import type { Message } from '../types.ts';
import { isHidden, lastPollOfOrigin, notePollOfOrigin } from './visibility.ts';

const hasProgress = new XMLHttpRequest().onprogress === null;

/** Sends the requests of the drop-in and hands out what they bring, by settings that may change at any time. */
export class Poller implements Owner {
  /** As `status` tells it; undefined before the first start. */
  running: 'started' | 'stopped' | undefined;
  calls = 0;
  failuresInARow = 0;
  failures = 0;
  lastCall: number = Number.NaN;
  private readonly _me: MessageBusSettings;
  private readonly _subscribed: Subscribed[];
  private readonly _positions = new WeakMap<Subscribed, Position>();
  private _paused = false;
  private readonly _later: [Subscribed, Message][] = [];
  private _request: Request | undefined;
  /** Waits for the next request. */
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _unchunkedLeft = 0;
  private _away = false;
  private _unwatch: (() => void) | undefined;

  constructor(me: MessageBusSettings) {
    this._me = me;
    this._subscribed = me.callbacks;
  }

  get paused(): boolean {
    return this._paused;
  }

  start(): void {
    if (this.running === 'started') return;
    this.running = 'started';
    this._watch();
    this._poll();
  }

  stop(): void {
    this.running = 'stopped';
    this._unwatch?.();
    this._unwatch = undefined;
    clearTimeout(this._timer);
    this._timer = undefined;
    this.interrupt();
  }

  pause(): void {
    this._paused = true;
  }

  resume(): void {
    this._paused = false;
    for (let next = this._later.shift(); next; next = this._paused ? undefined : this._later.shift()) {
      this._hand(next[0], next[1]);
    }
  }

  /** Ends the request under way, so that the next one carries what has changed. */
  interrupt(): void {
    this._request?.abort('aborted');
  }

  take(request: Request, part: readonly Message[]): void {
    this.failuresInARow = 0;
    const epoch = request.header(epochHeader);
    const stands = standsAt(part);
    for (const message of part) this._takeMessage(message, stands);
    for (const entry of this._subscribed) {
      const position = this._positionOf(entry);
      position.meet(epoch);
      if (request.parts === 1) position.endBacklog();
      entry.last_id = position.wire;
    }
  }

  complain(request: Request, error: unknown): void {
    console.log('FAILED TO PARSE CHUNKED REPLY');
    console.log(request.data);
    this._me.onError?.(error);
  }

  finish(request: Request): void {
    this._request = undefined;
    this._me.longPoll = null;
    if (request.buffered) this._unchunkedLeft = this._me.retryChunkedAfterRequests;
    if (request.end === 'failed') {
      this.failuresInARow += 1;
      this.failures += 1;
    }
    if (this.running !== 'started' || this._away) return;
    this._pollIn(nextDelay(this._endOf(request), this._holds(), Date.now() - request.startedAt, this._me, Math.random()));
  }

  private _endOf({ end, retryAfter, lookUp, parts }: Request): End {
    if (end === 'failed') return { kind: end, inARow: this.failuresInARow };
    if (end === 'limited') return { kind: end, retryAfter };
    return { kind: lookUp && parts > 0 ? 'again' : end };
  }

  private _pollIn(delay: number): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._poll(), delay);
  }

  private _poll(): void {
    this._timer = undefined;
    if (this.running !== 'started' || this._request || this._away) return;
    if (this._subscribed.length === 0 || this._hiddenShouldWait()) {
      this._pollIn(500 + Math.random() * 500);
      return;
    }
    this._send(planRequest(this._subscribed.map((entry) => this._positionOf(entry))));
  }

  private _hiddenShouldWait(): boolean {
    const since = Date.now() - lastPollOfOrigin();
    return isHidden() && since >= 0 && since < this._me.minHiddenPollInterval;
  }

  private _send(plan: Plan): void {
    const me = this._me;
    const held = this._holds() && me.enableLongPolling && !plan.lookUp;
    const chunked = this._takeChunked(held);
    const headers: Record<string, string> = { 'X-SILENCE-LOGGER': 'true', ...me.headers };
    if (!chunked) headers['Dont-Chunk'] = 'true';
    this.calls += 1;
    const data = { ...Object.fromEntries(plan.numbers), __seq: this.calls, __pos: plan.known };
    const request = new Request(this, data, plan.lookUp, chunked, me.firstChunkTimeout);
    this.lastCall = request.startedAt;
    notePollOfOrigin(request.startedAt);
    this._request = request;
    const options = request.options(`${me.baseUrl}message-bus/${me.clientId}/poll${held ? '' : '?dlp=t'}`, headers);
    try {
      request.sent = me.ajax ? me.ajax(options) : ownAjax(me, options);
      if (this._request === request) me.longPoll = request.sent;
    } catch (error) {
      this._report(error, 'MESSAGE BUS FAIL: the request could not be sent');
      request.abort('failed');
      request.close();
    }
  }

  private _takeChunked(held: boolean): boolean {
    const chunked = held && this._me.enableChunkedEncoding && hasProgress;
    if (this._unchunkedLeft < 1) return chunked;
    this._unchunkedLeft -= 1;
    return false;
  }

  private _holds(): boolean {
    const { alwaysLongPoll, shouldLongPollCallback } = this._me;
    if (alwaysLongPoll) return true;
    if (!shouldLongPollCallback) return !isHidden();
    try {
      return shouldLongPollCallback();
    } catch (error) {
      this._report(error, 'MESSAGE BUS FAIL: shouldLongPollCallback');
      return false;
    }
  }

  private _takeMessage(message: Message, stands: number): void {
    for (const entry of this._subscribed.slice()) {
      if (this.running === 'stopped') return;
      const position = this._positionOf(entry);
      if (entry.channel === message.channel && this._isNew(position, message, stands)) {
        entry.last_id = position.wire;
        this._hand(entry, message);
      }
      const own = membersOf(message.data).find(([channel]) => channel === entry.channel)?.[1];
      if (message.channel === statusChannel && typeof own === 'number') position.settle(own);
      if (message.channel === gapChannel && own) takeGap(position, own as ServerGap);
      entry.last_id = position.wire;
    }
  }

  private _isNew(position: Position, { channel, id, globalId }: Message, stands: number): boolean {
    if (channel === statusChannel || channel === gapChannel) return true;
    if (position.advance(id, globalId, stands).moved) return true;
    // The server knows best what was asked of it, unless that was for another subscription.
    if (position.reach !== 'exact' || stands > id) return false;
    position.wire = id;
    position.globalId = globalId;
    return true;
  }

  private _hand(entry: Subscribed, message: Message): void {
    if (!this._subscribed.includes(entry)) return;
    if (this._paused) {
      this._later.push([entry, message]);
      return;
    }
    try {
      entry.func(message.data, message.globalId, message.id);
    } catch (error) {
      this._report(error, `MESSAGE BUS FAIL: callback ${entry.channel}`);
    }
  }

  private _report(error: unknown, what: string): void {
    console.log(`${what} caused exception ${(error as Error | undefined)?.stack ?? String(error)}`);
    this._me.onError?.(error);
  }

  /** The position of an entry; a new one where somebody else has set `last_id`. */
  private _positionOf(entry: Subscribed): Position {
    const known = this._positions.get(entry);
    if (known?.wire === entry.last_id) return known;
    const position = new Position(entry.channel, entry.last_id);
    this._positions.set(entry, position);
    return position;
  }

  private _watch(): void {
    const me = this._me;
    me.onVisibilityChange = () => {
      if (!isHidden()) this._hurry();
    };
    const listener = me.onVisibilityChange;
    document.addEventListener('visibilitychange', listener);
    const unwatch = watchPage({
      onReturn: () => this._hurry(),
      onRenew: () => {
        this._away = false;
        if (this._request) this.interrupt();
        else this._poll();
      },
      onLeave: () => {
        this._away = true;
        clearTimeout(this._timer);
        this.interrupt();
      },
    });
    this._unwatch = () => {
      document.removeEventListener('visibilitychange', listener);
      me.onVisibilityChange = null;
      unwatch();
    };
  }

  /** Polls at once instead of waiting for the next time. */
  private _hurry(): void {
    if (this._request || this._timer === undefined) return;
    clearTimeout(this._timer);
    this._poll();
  }
}

function takeGap(position: Position, gap: ServerGap): void {
  if (isWhole(gap.after) && isWhole(gap.next)) position.leap(gap);
}
