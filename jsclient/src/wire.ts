import { MessageBusError } from './errors.ts';
import type { Plan } from './positions.ts';

/** The server's own messages. */
export const statusChannel = '/__status';
export const gapChannel = '/__gap';
/** Names the epoch of the store, to clients that send `__pos`. */
export const epochHeader = 'message-bus-epoch';

/** A message as it stands in an answer. Ids of -1 mark messages of the server itself. */
export interface WireMessage {
  readonly global_id: number;
  readonly message_id: number;
  readonly channel: string;
  readonly data: unknown;
}

/** The member `__pos`: what the client knows of its positions, and that it wants to be told of gaps. */
export function encodeMarks({ marks }: Pick<Plan, 'marks'>): string {
  return `~${JSON.stringify(marks)}`;
}

/** Throws for anything but an array of messages: to skip it would lose what it should have been. */
export function parsePart(text: string): WireMessage[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MessageBusError('answer', `the server sent no JSON: ${excerpt(text)}`, { cause });
  }
  return checkPart(value, text);
}

/** Throws unless the value is an array of messages. `text` is what to show of it. */
export function checkPart(value: unknown, text: string): WireMessage[] {
  if (Array.isArray(value) && value.every(isWireMessage)) return value;
  throw new MessageBusError('answer', `the server sent no array of messages: ${excerpt(text)}`);
}

function isWireMessage(value: unknown): value is WireMessage {
  if (typeof value !== 'object' || value === null) return false;
  const { global_id, message_id, channel } = value as Partial<WireMessage>;
  return Number.isSafeInteger(global_id) && Number.isSafeInteger(message_id) && typeof channel === 'string';
}

function excerpt(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}

/**
 * Where the status of a part that is one message and one status puts the message's channel; else -1. Such a
 * part is how a message comes that the store has got late.
 */
export function standsAt(part: readonly WireMessage[]): number {
  const [message, status] = part;
  if (part.length !== 2 || status?.channel !== statusChannel) return -1;
  const stands = (status.data as Record<string, unknown> | null)?.[message!.channel];
  return typeof stands === 'number' ? stands : -1;
}

/** The members of what should be an object. */
export function entriesOf(data: unknown): [string, unknown][] {
  return typeof data === 'object' && data !== null ? Object.entries(data) : [];
}
