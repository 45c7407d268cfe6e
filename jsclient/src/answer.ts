import { MessageBusError } from './errors.ts';
import type { Position, Step } from './positions.ts';
import type { Events, Message } from './types.ts';
import { gapChannel, isWhole, membersOf, standsAt, statusChannel, type ServerGap } from './wire.ts';

/** What an engine knows of a subscription. */
export interface Entry {
  readonly position: Position;
}

/** What an engine tells its owner. Each may call back into the engine. */
export interface Owner<E extends Entry> {
  /** A message that is new to a subscription. */
  deliver(entry: E, message: Message, late?: boolean): void;
  /** With a gap: the subscriptions to which messages may be lost. */
  emit<K extends keyof Events>(event: K, value: Events[K], entries?: readonly E[]): void;
  /** A part has been taken to its end. */
  taken?(first: boolean): void;
}

/**
 * Takes one part: gaps, then messages by global id, then statuses. Returns whether a position has moved.
 * `current` returns the entries that it is for, none once the request is over: callbacks end it, and
 * subscriptions too.
 */
export function takePart<E extends Entry>(
  part: readonly Message[],
  first: boolean,
  stands: number = standsAt(part),
  owner: Owner<E>,
  current: () => readonly E[],
): boolean {
  let news = false;
  const entriesOf = (channel: string): E[] => current().filter(({ position }) => position.channel === channel);

  /** Moves all positions of a channel, and calls back for those that moved. They fall into the same gap. */
  const stepAll = (channel: string, step: (position: Position) => Step, onMoved?: (entry: E, late?: boolean) => void): void => {
    let told = false;
    for (const entry of entriesOf(channel)) {
      if (!current().includes(entry)) continue;
      const { moved, gap, late } = step(entry.position);
      news ||= moved;
      if (gap && !told) {
        told = true;
        owner.emit('gap', gap, entriesOf(channel));
      }
      if (moved && current().includes(entry)) onMoved?.(entry, late);
    }
  };

  const takeGap = ([channel, value]: [string, unknown]): void => {
    const entries = entriesOf(channel);
    if (entries.length === 0) return;
    const gap = (value ?? {}) as ServerGap;
    const { after, next, reason } = gap;
    if (!isWhole(after) || !isWhole(next)) {
      owner.emit('error', new MessageBusError('answer', `no gap of ${channel}: ${JSON.stringify(value)}`));
      return;
    }
    for (const { position } of entries) position.leap(gap);
    owner.emit('gap', { channel, after, next, reason: String(reason) }, entries);
  };

  const dataOf = (name: string): [string, unknown][] => part.flatMap(({ channel, data }) => (channel === name ? membersOf(data) : []));
  dataOf(gapChannel).forEach(takeGap);
  for (const message of inOrder(part)) {
    stepAll(message.channel, (position) => position.advance(message.id, message.globalId, stands), (entry, late) => owner.deliver(entry, message, late));
  }
  for (const [channel, lastId] of dataOf(statusChannel)) {
    if (isWhole(lastId)) stepAll(channel, (position) => position.settle(lastId));
  }
  if (first) for (const { position } of current()) if (position.endBacklog()) news = true;
  return news;
}

/** The messages of a part by global id. Ruby servers sort by message id, which differs where ids started again. */
function inOrder(part: readonly Message[]): Message[] {
  return part
    .filter(({ channel }) => channel !== statusChannel && channel !== gapChannel)
    .sort((a, b) => a.globalId - b.globalId);
}
