import type { Position } from './positions.ts';

/** What one request asks for. */
export interface Plan {
  /** Channel and number, in the order in which the channels were first subscribed. */
  readonly numbers: readonly (readonly [string, number])[];
  /**
   * What the member `__pos` carries: by epoch and channel, the global ids that belong to the numbers. It says, too,
   * that the client wants to be told of gaps.
   */
  readonly known: string;
  /**
   * Some position can only be found out by a request that is answered at once: the others of its channel
   * are left out of that request, and wait for the next.
   */
  readonly lookUp: boolean;
}

/** Decides on one number for each channel, and aims every position at it. */
export function planRequest(positions: readonly Position[]): Plan {
  const numbers = new Map<string, number>();
  for (const { channel, wire } of positions) numbers.set(channel, carried(wire, numbers.get(channel) ?? wire));
  let lookUp = false;
  const marks = bare<Record<string, number>>();
  for (const position of positions) {
    const { channel, wire, epoch } = position;
    const number = numbers.get(channel)!;
    position.aim(number);
    lookUp ||= position.tail !== 0 || (number < 0 && wire !== number);
    if (epoch && number >= 0 && wire === number) (marks[epoch] ??= bare())[channel] = position.globalId;
  }
  return { numbers: [...numbers], known: `~${JSON.stringify(marks)}`, lookUp };
}

/**
 * The lowest id serves everyone who is behind it. A subscription at the latest or at a tail has no id yet,
 * and one number cannot ask for both, so those go first: the latest, then the shortest tail.
 */
function carried(a: number, b: number): number {
  return a < 0 && b < 0 ? Math.max(a, b) : Math.min(a, b);
}

/** An object that inherits nothing: its keys come from a server. */
function bare<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}
