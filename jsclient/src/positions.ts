import type { From, Gap } from './types.ts';

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
}

const still: Step = { moved: false };

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
  private _reach: Reach = 'none';
  private _globalId = unknown;
  /** Where the channel stood when its ids last started again: the old messages are still stored, and may come again. */
  private _before: Mark | undefined;
  /** While the channel's last id is looked up for a tail that came back empty: the number to ask for afterwards. */
  private _tail = 0;
  private _floor = unknown;

  constructor(channel: string, from: From) {
    this.channel = channel;
    this.wire = wireNumber(from);
  }

  /** Whether the next request only finds out where this position is, and should not be held. */
  get looksUp(): boolean {
    return this._tail !== 0;
  }

  /** Prepares for a request that carries this number for the channel. */
  aim(carried: number): void {
    if (carried === this.wire) this._reach = 'exact';
    else this._reach = carried >= 0 && carried < this.wire ? 'wide' : 'none';
  }

  /** Takes a message of the channel. */
  advance(id: number, globalId: number): Step {
    if (this._reach === 'none' || this._hasSeen(id, globalId)) return still;
    const gap = this._wentBack(id, globalId) ? this._reset(id) : undefined;
    this._rememberRestart(id, globalId);
    this.wire = id;
    this._globalId = globalId;
    this._tail = 0;
    return gap ? { moved: true, gap } : { moved: true };
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
  }
}

function isBehind(id: number, globalId: number, mark: Mark | undefined): boolean {
  return mark !== undefined && id <= mark.id && globalId <= mark.globalId;
}

function wireNumber(from: From): number {
  if (from === 'latest') return latest;
  if (typeof from === 'number' && isWhole(from, 0)) return from;
  if (typeof from === 'object' && from !== null && isWhole(from.last, 1)) return -(from.last + 1);
  throw new TypeError(
    `from is ${JSON.stringify(from)}; it must be 'latest', a whole number from 0, or { last: a whole number from 1 }`,
  );
}

function isWhole(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** What one request asks for. */
export interface Plan {
  /** Channel and number, in the order in which the channels were first subscribed. */
  readonly fields: readonly (readonly [string, number])[];
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
  const fields = [...byChannel].map(([channel, group]) => {
    const carried = carriedNumber(group);
    for (const position of group) {
      position.aim(carried);
      lookUp ||= position.looksUp || (carried < 0 && position.wire !== carried);
    }
    return [channel, carried] as const;
  });
  return { fields, lookUp };
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
