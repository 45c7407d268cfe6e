import type { From, Gap, SavedPosition } from './types.ts';

/** The wire's number for "only new ones". */
const latest = -1;
/** No message has been taken since the ids began. */
const unknown = -1;

/**
 * What the request under way asks for, seen from one subscription:
 * `none`: not for its messages; `exact`: from its position; `wide`: from further back, for another subscription.
 */
type Reach = 'none' | 'exact' | 'wide';

interface Mark {
  readonly id: number;
  readonly globalId: number;
}

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
const lateStep: Step = { moved: true, late: true };

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
  /** The life of the store that the ids belong to. Empty: not known. */
  epoch: string;
  private _reach: Reach = 'none';
  private _carried = 0;
  private _late: number[] = [];
  private _globalId = unknown;
  /** Where the channel stood when its ids last started again: the old messages are still stored, and may come again. */
  private _before: Mark | undefined;
  /** While the channel's last id is looked up for a tail that came back empty: the number to ask for afterwards. */
  private _tail = 0;
  private _floor = unknown;

  /** `wire` is the number to ask from, as the wire has it; the rest is what else is known of it. */
  constructor(channel: string, wire: number, globalId: number = unknown, epoch: string = '') {
    this.channel = channel;
    this.wire = wire;
    this._globalId = globalId > 0 ? globalId : unknown;
    this.epoch = epoch;
  }

  /** The global id that came with the last message id; 0 if that is not known. */
  get globalId(): number {
    return Math.max(0, this._globalId);
  }

  /** Whether the request under way asks for this position. */
  get aimed(): boolean {
    return this._reach !== 'none';
  }

  /** Whether the request under way asks for this very position, and for no other of the channel. */
  get exact(): boolean {
    return this._reach === 'exact';
  }

  /** Goes to a message without asking whether it is a new one. */
  jump(id: number, globalId: number): void {
    this.wire = id;
    this._globalId = globalId;
  }

  /** Whether the next request only finds out where this position is, and should not be held. */
  get looksUp(): boolean {
    return this._tail !== 0;
  }

  /** Joins another position of the channel, at the same place, in what is under way. Returns whether it is one. */
  follow(other: Position): boolean {
    if (other._reach === 'none' || other.channel !== this.channel || other.wire !== this.wire || this.wire < 0) return false;
    this._reach = other._reach;
    this._carried = other._carried;
    this._globalId = other._globalId;
    this.epoch = other.epoch;
    return true;
  }

  /** Prepares for a request that carries this number for the channel. */
  aim(carried: number): void {
    this._carried = carried;
    if (carried === this.wire) this._reach = 'exact';
    else this._reach = carried >= 0 && carried < this.wire ? 'wide' : 'none';
  }

  /**
   * Takes a message of the channel. `stands` is where a status right behind it puts the channel: one that is
   * ahead of the message's id says that the message comes after others with higher ids.
   */
  advance(id: number, globalId: number, stands: number = unknown): Step {
    if (this._reach !== 'none' && stands > id && id <= this._lowest()) return this._takeLate(globalId);
    if (this._reach === 'none' || this._hasSeen(id, globalId)) return still;
    const gap = this._wentBack(id, globalId) ? this._reset(id) : undefined;
    this._rememberRestart(id, globalId);
    this.wire = id;
    this._globalId = globalId;
    this._tail = 0;
    return gap ? { moved: true, gap } : { moved: true };
  }

  /** Below or at this id the server knows that the client has what was there. */
  private _lowest(): number {
    return this._reach === 'wide' ? this._carried : this.wire;
  }

  private _takeLate(globalId: number): Step {
    if (this._late.includes(globalId)) return still;
    this._late.push(globalId);
    if (this._late.length > mostLate) this._late.shift();
    return lateStep;
  }

  /** Takes the channel's last id from a status message: everything up to it is done with. */
  settle(lastId: number): Step {
    if (this._reach === 'none' || lastId === this.wire) return still;
    if (this._tail !== 0) {
      this._floor = lastId;
      this.wire = this._tail;
      this._tail = 0;
      // This request has not asked for the tail, so that what follows in it says nothing about the tail.
      this._reach = 'none';
      return { moved: true };
    }
    // Every message is behind a status, unless the store is another one than it was.
    const gap = lastId < this.wire ? this._reset(lastId + 1) : undefined;
    if (gap) this._forget();
    this.wire = lastId;
    return gap ? { moved: true, gap } : { moved: true };
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
    // From now on only live messages come, so that a wide reach is an exact one.
    if (this._reach === 'wide') this._carried = this.wire;
    if (this._reach === 'none' || this.wire >= latest) return false;
    if (this._floor === unknown) {
      this._tail = this.wire;
      this.wire = latest;
    } else {
      this.wire = this._floor;
    }
    return true;
  }

  /** The server says that the ids started again, and that this is the first new one. */
  restartAt(next: number): void {
    if (this._reach === 'none') return;
    this._forget();
    this.wire = next - 1;
  }

  /** Takes the epoch that an answer names, unless an earlier one is known: only a gap ends that. */
  meet(epoch: string): void {
    if (this._reach !== 'none' && this.epoch === '') this.epoch = epoch;
  }

  private _hasSeen(id: number, globalId: number): boolean {
    if (this.wire < 0) return false;
    if (isBehind(id, globalId, this._before)) return true;
    if (this._globalId !== unknown) return id <= this.wire && globalId <= this._globalId;
    // Only the server can tell an old message from one after a restart of the ids, and does if asked exactly.
    return this._reach === 'wide' && id <= this.wire;
  }

  private _wentBack(id: number, globalId: number): boolean {
    return this.wire >= 0 && (id <= this.wire || globalId <= this._globalId);
  }

  private _rememberRestart(id: number, globalId: number): void {
    if (globalId <= this._globalId) this._before = undefined;
    else if (id <= this.wire && this._globalId !== unknown) {
      this._before = { id: Math.max(this.wire, this._before?.id ?? 0), globalId: this._globalId };
    }
  }

  private _reset(next: number): Gap {
    return { channel: this.channel, after: this.wire, next, reason: 'reset' };
  }

  private _forget(): void {
    this._globalId = unknown;
    this._before = undefined;
    this._late = [];
  }
}

function isBehind(id: number, globalId: number, mark: Mark | undefined): boolean {
  return mark !== undefined && id <= mark.id && globalId <= mark.globalId;
}

/** Where a subscription begins. Throws a TypeError for what is no `From`. */
export function beginAt(channel: string, from: From): Position {
  if (from === 'latest') return new Position(channel, latest);
  if (isWhole(from, 0)) return new Position(channel, from as number);
  const { last, id, globalId, epoch } = (from ?? {}) as { last?: number } & Partial<SavedPosition>;
  if (isWhole(last, 1)) return new Position(channel, -(last as number) - 1);
  if (isWhole(id, 0)) return new Position(channel, id as number, globalId, epoch);
  throw new TypeError(
    `from is ${JSON.stringify(from)}; it must be 'latest', an id, { last: 1 or more } or one of positions()`,
  );
}

function isWhole(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** What one request asks for. */
export interface Plan {
  /** Channel and number, in the order in which the channels were first subscribed. */
  readonly fields: readonly (readonly [string, number])[];
  /** What the member `__pos` carries: by epoch and channel, the global ids that belong to the numbers. */
  readonly marks: Readonly<Record<string, Record<string, number>>>;
  /**
   * Some position can only be found out by a request that is answered at once: the others of its channel
   * are left out of that request, and wait for the next.
   */
  readonly lookUp: boolean;
}

/** Decides on one number for each channel, and aims every position at it. */
export function planRequest(positions: Iterable<Position>): Plan {
  const byChannel = new Map<string, Position[]>();
  for (const position of positions) {
    const group = byChannel.get(position.channel);
    if (group) group.push(position);
    else byChannel.set(position.channel, [position]);
  }
  let lookUp = false;
  const marks = bare<Record<string, number>>();
  const fields = [...byChannel].map(([channel, group]) => {
    const carried = carriedNumber(group);
    for (const position of group) {
      position.aim(carried);
      lookUp ||= position.looksUp || (carried < 0 && position.wire !== carried);
      if (carried >= 0 && position.wire === carried && position.epoch !== '') {
        (marks[position.epoch] ??= bare())[channel] = position.globalId;
      }
    }
    return [channel, carried] as const;
  });
  return { fields, marks, lookUp };
}

/** An object that inherits nothing: its keys come from a server. */
function bare<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}

/**
 * The lowest id serves everyone who is behind it. A subscription at the latest or at a tail has no id yet,
 * and one number cannot ask for both, so those go first: the latest, then the shortest tail.
 */
function carriedNumber(group: readonly Position[]): number {
  const wires = group.map((position) => position.wire);
  const unresolved = wires.filter((wire) => wire < 0);
  return unresolved.length > 0 ? Math.max(...unresolved) : Math.min(...wires);
}
