import type { Kit } from './client.ts';
import type { Exchange, Receiver } from './transport.ts';
import { gapChannel, statusChannel, type WireMessage } from './wire.ts';

/** An event of the server, as far as it matters here. */
interface ServerEvent {
  readonly id: string | undefined;
  readonly data: string;
}

/**
 * Server-sent events, read by `fetch`: an `EventSource` sends no headers, shows no refusal, and goes on from one
 * id for all channels, where this client knows more.
 */
export function sse(kit: Kit): Exchange {
  return (settings, poll, controller, receiver) => {
    // The events do not say where the backlog ends, which the newest k of a channel depend on.
    if (poll.plan.fields.some(([, number]) => number < -1)) {
      const atOnce = { ...poll, mode: 'lookUp', streaming: false } as const;
      return kit.exchangeHttp(settings, atOnce, controller, receiver);
    }
    const path = `sse?${kit.encodeFields(poll)}`;
    return kit.ask(settings, poll, controller, receiver, { path, firstPart: 0 }, async (response, watch) => {
      const type = response.headers.get('Content-Type') ?? '';
      if (!type.startsWith('text/event-stream')) throw new kit.MessageBusError('answer', `the answer is of type ${type}, not events`);
      receiver.part([], true);
      const take = readEvents(settings.maxPartLength, (event) => {
        if (!watch.aborted) handOn(kit, event, receiver);
      });
      await kit.readText(response, watch, take);
    });
  };
}

function handOn(kit: Kit, { id, data }: ServerEvent, receiver: Receiver): void {
  const part = kit.parsePart(`[${data}]`);
  const late = id === undefined && part.every(isMessage);
  receiver.part(part, false, late ? Number.MAX_SAFE_INTEGER : -1);
}

function isMessage({ channel }: WireMessage): boolean {
  return channel !== statusChannel && channel !== gapChannel;
}

/** Returns a function that takes the text in pieces. The lines of this server end with a line feed. */
function readEvents(mostCharacters: number, onEvent: (event: ServerEvent) => void): (piece: string) => void {
  let rest: string[] = [];
  let length = 0;
  let id: string | undefined;
  let data = '';
  const takeLine = (line: string): void => {
    if (line === '') {
      if (data !== '') onEvent({ id, data });
      id = undefined;
      data = '';
    } else if (line.startsWith('data: ')) data += line.slice(6);
    else if (line.startsWith('id: ')) id = line.slice(4);
  };
  return (piece) => {
    let start = 0;
    for (let end = piece.indexOf('\n'); end >= 0; end = piece.indexOf('\n', start)) {
      takeLine(rest.join('') + piece.slice(start, end));
      rest = [];
      length = 0;
      start = end + 1;
    }
    rest.push(piece.slice(start));
    length += piece.length - start;
    if (length > mostCharacters) throw new RangeError(`an event is longer than maxPartLength, ${mostCharacters} characters`);
  };
}
