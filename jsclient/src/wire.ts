import { MessageBusError } from './errors.ts';
import type { Gap, Message } from './types.ts';

/** The server's own messages, whose ids are -1. */
export const statusChannel = '/__status';
export const gapChannel = '/__gap';
/** Names the epoch of the store, to clients that send `__pos`. */
export const epochHeader = 'message-bus-epoch';

/** Whether a number from outside is one that counts exactly. */
export const isWhole = Number.isSafeInteger as (value: unknown) => value is number;

/** Throws for anything but an array of messages: to skip it would lose what it should have been. */
export function parsePart(text: string): Message[] {
  let part: Message[] | undefined;
  try {
    part = (JSON.parse(text) as Record<string, unknown>[]).map(
      ({ channel, message_id: id, global_id: globalId, data }) => ({ channel, id, globalId, data }) as Message,
    );
  } catch {
    // Then it is none.
  }
  if (part?.every(({ channel, id, globalId }) => typeof channel === 'string' && isWhole(id) && isWhole(globalId))) return part;
  throw new MessageBusError('answer', `no array of messages: ${JSON.stringify(text.slice(0, 60))}`);
}

/**
 * Where the status of a part that is one message and one status puts the message's channel; else -1. Such a
 * part is how a message comes that the store has got late.
 */
export function standsAt([message, status, ...others]: readonly Message[]): number {
  const stands = others.length === 0 && status?.channel === statusChannel && (status.data as Record<string, unknown> | null)?.[message!.channel];
  return isWhole(stands) ? stands : -1;
}

/** A gap as the server tells it of a channel, with the epoch in which that goes on. */
export type ServerGap = Pick<Gap, 'after' | 'next' | 'reason'> & { readonly epoch?: string };

/** The members of what should be an object. */
export function membersOf(data: unknown): [string, unknown][] {
  return typeof data === 'object' ? Object.entries(data ?? {}) : [];
}
