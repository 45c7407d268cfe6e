import { PartParser } from './chunks.ts';
import { MessageBusError } from './errors.ts';
import type { FetchLike, FetchResponse, HeadersSource } from './types.ts';

/** A message as it stands in an answer. Ids of -1 mark messages of the server itself. */
export interface WireMessage {
  readonly global_id: number;
  readonly message_id: number;
  readonly channel: string;
  readonly data: unknown;
}

/** What stays the same for all requests of a client. */
export interface Connection {
  readonly fetch: FetchLike;
  readonly credentials: RequestCredentials;
  readonly headers: HeadersSource;
  readonly maxPartLength: number;
  readonly firstChunkTimeout: number;
  readonly silenceTimeout: number;
}

/** One request. */
export interface Poll {
  readonly url: string;
  readonly fields: readonly (readonly [string, number])[];
  /** Whether the answer may come in parts. */
  readonly streaming: boolean;
}

export type Outcome =
  /** The answer was good to its end, and had at least one part. */
  | { readonly kind: 'answered' }
  /** No part of a stream arrived in time. */
  | { readonly kind: 'buffered' }
  /** The server said when to come back, in milliseconds from now. */
  | { readonly kind: 'refused'; readonly error: MessageBusError; readonly retryAfter: number }
  | { readonly kind: 'failed'; readonly error: MessageBusError };

const tooManyRequests = 429;
const unavailable = 503;
/** What a 429 without a time means, as in the gem's client. */
const defaultRetryAfter = 15_000;

/**
 * Sends one request and hands on each part of its answer. Never rejects. Nothing is handed on after the
 * controller was aborted; the outcome then means nothing.
 */
export async function exchange(
  connection: Connection,
  poll: Poll,
  controller: AbortController,
  onPart: (messages: WireMessage[]) => void,
): Promise<Outcome> {
  const watch = new Watch(connection, controller);
  try {
    const headers = await makeHeaders(connection.headers, poll.streaming);
    if (controller.signal.aborted) return { kind: 'answered' };
    watch.start(poll.streaming);
    const response = await connection.fetch(poll.url, {
      method: 'POST',
      headers,
      body: encodeForm(poll.fields),
      credentials: connection.credentials,
      signal: controller.signal,
    });
    if (!response.ok) return refusal(response);
    await readAnswer(response, poll.streaming, connection.maxPartLength, watch, onPart);
    return { kind: 'answered' };
  } catch (error) {
    return watch.explain(error);
  } finally {
    watch.stop();
    // Whatever is left of the answer is not wanted: an error's body, or a stream behind a part that made no sense.
    controller.abort();
  }
}

async function makeHeaders(source: HeadersSource, streaming: boolean): Promise<Record<string, string>> {
  const own = typeof source === 'function' ? await source() : source;
  const headers: Record<string, string> = {
    'X-SILENCE-LOGGER': 'true',
    'Content-Type': 'application/x-www-form-urlencoded',
    ...own,
  };
  if (!streaming) headers['Dont-Chunk'] = 'true';
  return headers;
}

function encodeForm(fields: Poll['fields']): string {
  return new URLSearchParams(fields.map(([name, value]) => [name, String(value)])).toString();
}

function refusal(response: FetchResponse): Outcome {
  const { status } = response;
  const error = new MessageBusError('refused', `the server answered ${status}`, { status });
  if (status !== tooManyRequests && status !== unavailable) return { kind: 'failed', error };
  const asked = parseRetryAfter(response.headers.get('Retry-After'), Date.now());
  const retryAfter = asked ?? (status === tooManyRequests ? defaultRetryAfter : undefined);
  return retryAfter === undefined ? { kind: 'failed', error } : { kind: 'refused', error, retryAfter };
}

/** Milliseconds from `now`, given either form of the header; undefined for anything else. */
export function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  // Without the zone, which HTTP requires, `1.5` would be a day in 2001.
  const date = /GMT\s*$/.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

async function readAnswer(
  response: FetchResponse,
  streaming: boolean,
  maxPartLength: number,
  watch: Watch,
  onPart: (messages: WireMessage[]) => void,
): Promise<void> {
  // A server that does not stream says so by its content type, whatever was asked for.
  const whole = !streaming || /^application\/json\b/i.test(response.headers.get('Content-Type') ?? '');
  if (whole) watch.endFirstPart();
  const read = whole ? readWhole : readParts;
  await read(response, maxPartLength, watch, (text) => {
    watch.endFirstPart();
    if (!watch.aborted) onPart(parsePart(text));
  });
}

async function readWhole(
  response: FetchResponse,
  maxLength: number,
  watch: Watch,
  onText: (text: string) => void,
): Promise<void> {
  const pieces: string[] = [];
  let length = 0;
  await readText(response, watch, (piece) => {
    pieces.push(piece);
    length += piece.length;
    if (length > maxLength) {
      throw new RangeError(`the answer is longer than maxPartLength, ${maxLength} characters`);
    }
  });
  onText(pieces.join(''));
}

async function readParts(
  response: FetchResponse,
  maxLength: number,
  watch: Watch,
  onText: (text: string) => void,
): Promise<void> {
  let parts = 0;
  const parser = new PartParser((part) => {
    parts += 1;
    onText(part);
  }, maxLength);
  // A stream that breaks off leaves half a part behind. It is dropped: no position has moved, so it comes again.
  await readText(response, watch, (piece) => parser.push(piece));
  if (parts === 0) {
    const type = response.headers.get('Content-Type');
    throw new MessageBusError('answer', `the answer, of type ${type}, ended before its first part`);
  }
}

async function readText(response: FetchResponse, watch: Watch, onPiece: (piece: string) => void): Promise<void> {
  if (!response.body) {
    onPiece(await response.text());
    return;
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    watch.hear();
    onPiece(decoder.decode(value, { stream: true }));
  }
}

/** Throws for anything but an array of messages: to skip it would lose what it should have been. */
function parsePart(text: string): WireMessage[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MessageBusError('answer', `the server sent no JSON: ${excerpt(text)}`, { cause });
  }
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

/** Ends a request from which nothing is heard, and knows why it ended. */
class Watch {
  private readonly _connection: Connection;
  private readonly _controller: AbortController;
  private _awaitsPart = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _cut: 'buffered' | 'silent' | undefined;

  constructor(connection: Connection, controller: AbortController) {
    this._connection = connection;
    this._controller = controller;
  }

  get aborted(): boolean {
    return this._controller.signal.aborted;
  }

  start(awaitsPart: boolean): void {
    this._awaitsPart = awaitsPart;
    this.hear();
  }

  /**
   * Something has come. Half a part counts as well, or a long backlog over a slow line would be taken for a
   * buffering proxy; but the rest of it must follow in the same time.
   */
  hear(): void {
    this.stop();
    const { firstChunkTimeout, silenceTimeout } = this._connection;
    this._timer = setTimeout(
      () => {
        this._cut = this._awaitsPart ? 'buffered' : 'silent';
        this._controller.abort();
      },
      this._awaitsPart ? firstChunkTimeout : silenceTimeout,
    );
  }

  endFirstPart(): void {
    if (!this._awaitsPart) return;
    this._awaitsPart = false;
    this.hear();
  }

  stop(): void {
    clearTimeout(this._timer);
  }

  /** The outcome of a request that threw. */
  explain(cause: unknown): Outcome {
    if (this._cut === 'buffered') return { kind: 'buffered' };
    return { kind: 'failed', error: this._error(cause) };
  }

  private _error(cause: unknown): MessageBusError {
    if (this._cut === 'silent') {
      return new MessageBusError('request', `nothing was heard for ${this._connection.silenceTimeout} ms`);
    }
    if (cause instanceof MessageBusError) return cause;
    if (cause instanceof RangeError) return new MessageBusError('answer', cause.message, { cause });
    return new MessageBusError('request', `the request failed: ${String(cause)}`, { cause });
  }
}
