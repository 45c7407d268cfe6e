import { longestPart } from './chunks.ts';
import type { Kit } from './exchanges.ts';
import type { Exchange, Reader } from './transport.ts';
import type { Message } from './types.ts';
import { gapChannel, statusChannel } from './wire.ts';

/** An event of the server, as far as it matters here. */
interface ServerEvent {
  readonly id: string | undefined;
  readonly data: string;
}

/**
 * Server-sent events, read by `fetch`: an `EventSource` sends no headers, shows no refusal, and goes on from one
 * id for all channels, where this client knows more.
 */
export default function sse(kit: Kit): Exchange {
  const poll = kit.exchangeOf('poll');
  return (settings, run) => {
    // The events do not say where the backlog ends, which the newest k of a channel depend on.
    if (run.plan.numbers.some(([, number]) => number < -1)) return poll(settings, { ...run, mode: 'lookUp', streaming: false });
    return kit.ask(settings, run, 'sse?', 0, (type) => {
      if (!type.startsWith('text/event-stream')) throw new kit.BusError('answer', `the answer is of type ${type}, not events`);
      run.take({ part: [], first: true });
      return createEventReader(kit, ({ id, data }) => {
        const part = kit.parsePart(`[${data}]`);
        const late = id === undefined && part.every(isMessage);
        run.take({ part, stands: late ? Number.MAX_SAFE_INTEGER : -1 });
      });
    });
  };
}

function isMessage({ channel }: Message): boolean {
  return channel !== statusChannel && channel !== gapChannel;
}

/** Takes the text in pieces. The lines of this server end with a line feed. */
function createEventReader({ BusError }: Kit, onEvent: (event: ServerEvent) => void): Reader {
  let pieces: string[] = [];
  let length = 0;
  let id: string | undefined;
  let data = '';
  const check = (characters: number): void => {
    if (characters > longestPart) throw new BusError('answer', 'an event is too long');
  };
  const takeLine = (line: string): void => {
    if (line === '') {
      if (data !== '') onEvent({ id, data });
      id = undefined;
      data = '';
    } else if (line.startsWith('data: ')) {
      data += line.slice(6);
      check(data.length);
    } else if (line.startsWith('id: ')) id = line.slice(4);
  };
  return {
    push: (text) => {
      const lines = text.split('\n');
      const rest = lines.pop()!;
      for (const line of lines) {
        takeLine(pieces.join('') + line);
        pieces = [];
        length = 0;
      }
      pieces.push(rest);
      length += rest.length;
      check(length);
      return true;
    },
  };
}
