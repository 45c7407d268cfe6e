import { createPartParser } from './chunks.ts';
import { MessageBusError } from './errors.ts';
import type { Settings } from './options.ts';
import type { Plan } from './plan.ts';
import type { Position } from './positions.ts';
import type { Mode } from './schedule.ts';
import type { FetchInit, FetchResponse, Message } from './types.ts';
import { epochHeader, parsePart } from './wire.ts';

/** One request, or one connection: what it asks for, and who takes what comes. */
export interface Run {
  readonly plan: Plan;
  readonly sequence: number;
  readonly mode: Mode;
  /** Whether the answer may come in parts. */
  readonly streaming: boolean;
  /** Ends it. What comes afterwards is not taken any more. */
  readonly controller: AbortController;
  /** Takes what has come. Does nothing once the run is over. */
  take(news: News): void;
  /** Set where a connection can take other channels, or other positions in them. Returns whether it took these. */
  change?: (positions: readonly Position[]) => boolean;
}

/** What a run brings. */
export interface News {
  /** One array of messages. */
  readonly part?: readonly Message[];
  /** The backlog ends with this part. */
  readonly first?: boolean;
  /** See `Position.advance`; by default what the part itself says. */
  readonly stands?: number;
  /** The epoch of the store; empty: not known. */
  readonly epoch?: string;
  /** Channels that are not given to this client. */
  readonly refused?: readonly string[];
  /** Something failed that is tried again by itself. */
  readonly error?: MessageBusError;
}

/**
 * A way to get messages: sends one request and hands on what comes. Resolves when the answer was good to its end, and
 * had at least one part; else rejects, with what went wrong or with `again`.
 */
export interface Exchange {
  (settings: Settings, run: Run): Promise<void>;
  /** Gives up what is kept between the requests. The next one gets it anew. */
  leave?(): void;
}

/** No part of a stream arrived in time, or another connection serves: it is to be asked at once. */
export const again = 'again';

/** Asks by POST; the answer comes in one or in parts. */
export const exchangeHttp: Exchange = (settings, run) => {
  const firstPart = run.streaming ? settings.timing.firstChunkTimeout : 0;
  return ask(settings, run, run.mode === 'hold' ? 'poll' : 'poll?dlp=t', firstPart, (type) => {
    // A server that does not stream says so by its content type, whatever was asked for.
    const whole = !run.streaming || /^application\/json\b/i.test(type);
    let parts = 0;
    const take = (text: string): void => run.take({ part: parsePart(text), first: ++parts === 1 });
    const parser = createPartParser(take);
    return {
      push: (text) => {
        parser.push(text);
        return whole || parts > 0;
      },
      // A stream that breaks off leaves half a part behind. It is dropped: no position has moved, so it comes
      // again. What has no part at all is not from a message bus, unless it is one without a separator.
      end: () => {
        if (whole || parts === 0) take(parser.rest());
      },
    };
  });
};

/** Reads a good answer. Throws where it makes no sense. */
export interface Reader {
  /** Takes a piece of text, and returns whether the first part has come. */
  push(text: string): boolean;
  end?(): void;
}

/**
 * Sends a request by `fetch` and has a good answer read. A path that ends in a question mark takes the channels;
 * else they are sent by POST. `firstPart` is after how many milliseconds silence means that something keeps the
 * answer back, until the reader has the first part; 0: there is no such limit.
 */
export async function ask(
  settings: Settings,
  run: Run,
  path: string,
  firstPart: number,
  open: (contentType: string) => Reader,
): Promise<void> {
  const { baseUrl, clientId, headers, credentials, timing } = settings;
  const { plan, sequence, streaming, controller } = run;
  let timer: ReturnType<typeof setTimeout> | undefined;
  // Half a part counts as well, or a long backlog over a slow line would be taken for a buffering proxy; but the
  // rest of it must follow in the same time.
  const hear = (): void => {
    clearTimeout(timer);
    const silence = firstPart || timing.silenceTimeout;
    timer = setTimeout(() => {
      controller.abort(firstPart ? again : new MessageBusError('request', `no answer for ${silence} ms`));
    }, silence);
  };
  try {
    const form = new URLSearchParams([...plan.numbers, ['__seq', sequence], ['__pos', plan.known]] as [string, string][]);
    const post = !path.endsWith('?');
    const init: FetchInit = {
      method: post ? 'POST' : 'GET',
      headers: {
        'X-SILENCE-LOGGER': 'true',
        ...(typeof headers === 'function' ? await headers() : headers),
        ...(!streaming && { 'Dont-Chunk': 'true' }),
      },
      ...(post && { body: form }),
      credentials,
      signal: controller.signal,
    };
    hear();
    const response = await settings.fetch(`${baseUrl}message-bus/${clientId}/${path}${post ? '' : form}`, init);
    if (!response.ok) throw refusal(response);
    const header = (name: string): string => response.headers.get(name) ?? '';
    run.take({ epoch: header(epochHeader), refused: decodeNames(header('message-bus-refused')) });
    const reader = open(header('Content-Type'));
    await read(response, (text) => {
      if (reader.push(text)) firstPart = 0;
      hear();
    });
    reader.end?.();
  } finally {
    clearTimeout(timer);
  }
}

/** Hands on an answer's text as it comes. */
async function read(response: FetchResponse, onText: (text: string) => void): Promise<void> {
  if (!response.body) return onText(await response.text());
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onText(decoder.decode(value, { stream: true }));
  }
}

/** The names of a list, but for the number of those that it has left out. */
function decodeNames(list: string): string[] {
  const names = list.match(/[^,\s]+/g) ?? [];
  return names.filter((name) => !name.startsWith('+')).map(decodeURIComponent);
}

const tooManyRequests = 429;
/** What that means without a time, as in the gem's client. */
const defaultRetryAfter = 15_000;

function refusal({ status, headers }: FetchResponse): MessageBusError {
  const asked = parseRetryAfter(headers.get('Retry-After'), Date.now());
  const retryAfter = asked > 0 ? asked : status === tooManyRequests ? defaultRetryAfter : undefined;
  return new MessageBusError('refused', `status ${status}`, { status, retryAfter });
}

/** Milliseconds from `now`, given seconds or a date; not more than 0, or no number, for anything else. */
export function parseRetryAfter(header: string | null, now: number): number {
  return Number(header) * 1000 || Date.parse(header ?? '') - now;
}
