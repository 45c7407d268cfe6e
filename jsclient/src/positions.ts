import { accept } from './accept.ts';
import type { From, Gap, SavedPosition } from './types.ts';
import { isWhole, type ServerGap } from './wire.ts';

/** The wire's number for "only new ones". */
const latest = -1;
/** No channel stands here. */
const unknown = -1;

/**
 * What the request under way asks for, seen from one subscription:
 * `none`: not for its messages; `exact`: from its position; `wide`: from further back, for another subscription.
 */
export type Reach = 'none' | 'exact' | 'wide';

/** What a message or a status has done to a position. */
export interface Step {
  /** The message is new to this subscription, or the status has moved it. */
  readonly moved: boolean;
  /** The ids went back: messages may be lost. */
  readonly gap?: Gap;
  /** The message is one that the store has got late: the position stays where it was. */
  readonly late?: boolean;
}

const still: Step = { moved: false };

/** So many late messages are remembered, so that none of them is delivered twice. */
const mostLate = 100;

/**
 * Where one subscription stands in its channel.
 *
 * Order and duplicates are judged by global id. Message ids alone will not do: on a Redis store of Ruby
 * processes they start again when a quiet channel's counter expires, while global ids go on.
 */
export class Position {
  readonly channel: string;
  /** What the next request has to carry: a message id, -1 for the latest, -(k+1) for the last k. */
  wire: number;
  /** The global id that came with the last message id; 0 if that is not known. */
  globalId!: number;
  /** The life of the store that the ids belong to. Empty: not known. */
  epoch: string;
  reach: Reach = 'none';
  /** While the channel's last id is looked up for a tail that came back empty: the number to ask for afterwards; else 0. */
  tail = 0;
  /** Up to this id, or to the position if that is lower, the server knows that the client has what was there. */
  had: number = Infinity;
  private _late!: number[];
  /** Where the channel stood when its ids last started again: the old messages are still stored, and may come again. */
  private _before!: { readonly id: number; readonly globalId: number };
  /** Where the channel stood when it was looked up. */
  private _floor = unknown;

  /** `wire` is the number to ask from, as the wire has it; the rest is what else is known of it. */
  constructor(channel: string, wire: number, globalId: number = 0, epoch: string = '') {
    this.channel = channel;
    this.wire = wire;
    this.epoch = epoch;
    this._forget(globalId);
  }

  /** Prepares for a request that carries this number for the channel. */
  aim(carried: number): void {
    this.reach = carried === this.wire ? 'exact' : carried >= 0 && carried < this.wire ? 'wide' : 'none';
    this.had = this.reach === 'wide' ? carried : Infinity;
  }

  /**
   * Takes a message of the channel. `stands` is where a status right behind it puts the channel: one that is
   * ahead of the message's id says that the message comes after others with higher ids.
   */
  advance(id: number, globalId: number, stands: number = unknown): Step {
    if (this.reach === 'none') return still;
    if (stands > id && id <= Math.min(this.had, this.wire)) return this._takeLate(globalId);
    if (this._hasSeen(id, globalId)) return still;
    const again = id <= this.wire;
    const otherStore = globalId <= this.globalId;
    const gap = again || otherStore ? this._reset(id) : undefined;
    if (otherStore) this._forget();
    else if (again && this.globalId) this._before = { id: Math.max(this.wire, this._before.id), globalId: this.globalId };
    this.wire = id;
    this.globalId = globalId;
    this.tail = 0;
    return { moved: true, ...(gap && { gap }) };
  }

  /** Takes the channel's last id from a status message: everything up to it is done with. */
  settle(lastId: number): Step {
    if (this.reach === 'none' || lastId === this.wire) return still;
    // Every message is behind a status, unless the store is another one than it was.
    const gap = lastId < this.wire ? this._reset(lastId + 1) : undefined;
    if (gap) this._forget();
    this.wire = lastId;
    if (this.tail) {
      this._floor = lastId;
      this.wire = this.tail;
      this.tail = 0;
      // This request has not asked for the tail, so that what follows in it says nothing about the tail.
      this.reach = 'none';
    }
    return { moved: true, ...(gap && { gap }) };
  }

  /**
   * Notes that the first part, and with it the whole backlog, has been taken. Returns whether that changed anything.
   *
   * A tail that came back empty is not asked for again just so: of more than k messages that came meanwhile,
   * the first would be lost. Nor is it position 0: Ruby servers subtract k from the last id, so that an empty
   * tail does not mean an empty channel. So the last id is looked up, then the tail is asked for once more, and
   * if it is still empty, the position is that id.
   */
  endBacklog(): boolean {
    // What comes from now on is not read again for another subscription.
    this.had = Infinity;
    if (this.reach === 'none' || this.wire >= latest) return false;
    if (this._floor === unknown) {
      this.tail = this.wire;
      this.wire = latest;
    } else {
      this.wire = this._floor;
    }
    return true;
  }

  /**
   * Goes on behind a gap that the server tells of. After a failover a position that is further on goes back to where
   * the gap begins: only up to there is the new server known to have what was seen, and it may give later ids again.
   */
  leap({ after, next, reason, epoch }: ServerGap): void {
    if (this.reach === 'none') return;
    if (reason === 'reset' || (reason === 'failover' && after < this.wire)) {
      this._forget();
      this.wire = reason === 'reset' ? next - 1 : after;
    }
    if (epoch) this.epoch = epoch;
  }

  /** Takes the epoch that an answer names, unless an earlier one is known: only a gap ends that. */
  meet(epoch: string): void {
    if (this.reach !== 'none') this.epoch ||= epoch;
  }

  private _takeLate(globalId: number): Step {
    if (this._late.includes(globalId)) return still;
    this._late = [...this._late.slice(1 - mostLate), globalId];
    return { moved: true, late: true };
  }

  private _hasSeen(id: number, globalId: number): boolean {
    if (id <= this._before.id && globalId <= this._before.globalId) return true;
    // Only the server can tell an old message from one after a restart of the ids, and does if asked exactly.
    return id <= this.wire && (this.globalId ? globalId <= this.globalId : this.reach === 'wide');
  }

  private _reset(next: number): Gap {
    return { channel: this.channel, after: this.wire, next, reason: 'reset' };
  }

  private _forget(globalId: number = 0): void {
    this.globalId = globalId;
    this._before = { id: 0, globalId: 0 };
    this._late = [];
  }
}

/** Where a subscription begins. Throws a TypeError for what is no `From`. */
export function beginAt(channel: string, from: From): Position {
  if (from === 'latest') return new Position(channel, latest);
  const { last, id = from, globalId, epoch } = (from ?? {}) as { last?: number } & Partial<SavedPosition>;
  if (isWhole(last) && last > 0) return new Position(channel, -last - 1);
  accept('from', from, isWhole(id) && id >= 0, "'latest', an id, { last } or a saved position");
  return new Position(channel, id as number, globalId, epoch);
}
