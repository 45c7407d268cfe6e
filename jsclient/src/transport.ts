import { PartParser } from './chunks.ts';
import { MessageBusError } from './errors.ts';
import type { Plan } from './positions.ts';
import type { Mode } from './schedule.ts';
import type { Settings } from './options.ts';
import type { FetchInit, FetchResponse, HeadersSource } from './types.ts';
import { encodeMarks, epochHeader, parsePart, type WireMessage } from './wire.ts';

/** One request, or one connection. */
export interface Poll {
  readonly clientId: string;
  readonly plan: Plan;
  readonly sequence: number;
  readonly mode: Mode;
  /** Whether the answer may come in parts. */
  readonly streaming: boolean;
}

/** Takes what comes. Nothing is handed on after the controller of the exchange was aborted. */
export interface Receiver {
  /**
   * One array of messages. `first`: the backlog ends with it. `stands`: see `Position.advance`; by default what
   * the array itself says.
   */
  part(messages: readonly WireMessage[], first: boolean, stands?: number): void;
  epoch(epoch: string): void;
  refused(channels: readonly string[]): void;
  /** Something failed that is tried again without the receiver. */
  fail(error: MessageBusError): void;
  /** How a connection that can take it is told of other channels. */
  changeBy(change: Change): void;
}

/** Leaves channels, and joins those of a plan, without a new connection. */
export type Change = (left: readonly string[], joined: Plan) => void;

export type Outcome =
  /** The answer was good to its end, and had at least one part. */
  | { readonly kind: 'answered' }
  /** No part of a stream arrived in time. */
  | { readonly kind: 'buffered' }
  /** Another one serves: ask there at once. */
  | { readonly kind: 'moved' }
  /** The server said when to come back, in milliseconds from now. */
  | { readonly kind: 'refused'; readonly error: MessageBusError; readonly retryAfter: number }
  | { readonly kind: 'failed'; readonly error: MessageBusError };

/** A way to get messages: sends one request and hands on what comes. Never rejects. */
export interface Exchange {
  (settings: Settings, poll: Poll, controller: AbortController, receiver: Receiver): Promise<Outcome>;
  /** Gives up what is kept between the requests. The next one gets it anew. */
  leave?(): void;
}

const tooManyRequests = 429;
const unavailable = 503;
/** What a 429 without a time means, as in the gem's client. */
const defaultRetryAfter = 15_000;

/** Asks by POST; the answer comes in one or in parts. */
export const exchangeHttp: Exchange = (settings, poll, controller, receiver) => {
  const { mode, streaming } = poll;
  const path = `poll${mode === 'hold' ? '' : '?dlp=t'}`;
  const firstPart = streaming ? settings.timing.firstChunkTimeout : 0;
  return ask(settings, poll, controller, receiver, { path, body: encodeFields(poll), firstPart }, (response, watch) => {
    let parts = 0;
    return readAnswer(response, streaming, settings.maxPartLength, watch, (messages) => receiver.part(messages, ++parts === 1));
  });
};

/** One request by `fetch`. */
export interface Ask {
  /** Below `message-bus/{client id}/`. */
  readonly path: string;
  /** Sent by POST; without it, the request is a GET. */
  readonly body?: string;
  /** Milliseconds after which silence means that something keeps the answer back; 0: no such limit. */
  readonly firstPart: number;
}

/** Sends a request, and has a good answer read. */
export async function ask(
  settings: Settings,
  poll: Poll,
  controller: AbortController,
  receiver: Receiver,
  { path, body, firstPart }: Ask,
  read: (response: FetchResponse, watch: Watch) => Promise<void>,
): Promise<Outcome> {
  const watch = new Watch(settings.timing.silenceTimeout, firstPart, controller);
  try {
    const headers = await makeHeaders(settings.headers, poll.streaming, body !== undefined);
    if (controller.signal.aborted) return { kind: 'answered' };
    watch.hear();
    const init: FetchInit = {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      ...(body === undefined ? {} : { body }),
      credentials: settings.credentials,
      signal: controller.signal,
    };
    const response = await settings.fetch(`${settings.baseUrl}message-bus/${poll.clientId}/${path}`, init);
    if (!response.ok) return refusal(response);
    hearHeaders(response, receiver);
    await read(response, watch);
    return { kind: 'answered' };
  } catch (error) {
    return watch.explain(error);
  } finally {
    watch.stop();
    // Whatever is left of the answer is not wanted: an error's body, or a stream behind a part that made no sense.
    controller.abort();
  }
}

async function makeHeaders(source: HeadersSource, streaming: boolean, form: boolean): Promise<Record<string, string>> {
  const own = typeof source === 'function' ? await source() : source;
  const headers: Record<string, string> = { 'X-SILENCE-LOGGER': 'true' };
  if (form) headers['Content-Type'] = 'application/x-www-form-urlencoded';
  Object.assign(headers, own);
  if (!streaming) headers['Dont-Chunk'] = 'true';
  return headers;
}

/** What is asked for, as a form. */
export function encodeFields({ plan, sequence }: Pick<Poll, 'plan' | 'sequence'>): string {
  const fields = [...plan.fields, ['__seq', sequence], ['__pos', encodeMarks(plan)]];
  return new URLSearchParams(fields as [string, string][]).toString();
}

function hearHeaders({ headers }: FetchResponse, receiver: Receiver): void {
  const epoch = headers.get(epochHeader);
  if (epoch) receiver.epoch(epoch);
  const refused = headers.get('message-bus-refused');
  if (refused) receiver.refused(decodeNames(refused));
}

/** The names of a list, but for the number of those that it has left out. */
function decodeNames(list: string): string[] {
  return list
    .split(/,\s*/)
    .filter((name) => !name.startsWith('+'))
    .map((name) => {
      try {
        return decodeURIComponent(name);
      } catch {
        return name;
      }
    });
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
  maxLength: number,
  watch: Watch,
  onPart: (messages: WireMessage[]) => void,
): Promise<void> {
  const take = (text: string): void => {
    watch.endFirstPart();
    if (!watch.aborted) onPart(parsePart(text));
  };
  const type = response.headers.get('Content-Type');
  // A server that does not stream says so by its content type, whatever was asked for.
  if (!streaming || /^application\/json\b/i.test(type ?? '')) {
    watch.endFirstPart();
    take(await readWhole(response, maxLength, watch));
    return;
  }
  let parts = 0;
  const parser = new PartParser((part) => {
    parts += 1;
    take(part);
  }, maxLength);
  // A stream that breaks off leaves half a part behind. It is dropped: no position has moved, so it comes again.
  await readText(response, watch, (piece) => parser.push(piece));
  if (parts === 0) throw new MessageBusError('answer', `the answer, of type ${type}, ended before its first part`);
}

async function readWhole(response: FetchResponse, maxLength: number, watch: Watch): Promise<string> {
  const pieces: string[] = [];
  let length = 0;
  await readText(response, watch, (piece) => {
    pieces.push(piece);
    length += piece.length;
    if (length > maxLength) throw new RangeError(`the answer is longer than maxPartLength, ${maxLength} characters`);
  });
  return pieces.join('');
}

/** Hands on an answer's text as it comes. */
export async function readText(response: FetchResponse, watch: Watch, onPiece: (piece: string) => void): Promise<void> {
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

/** Ends a request from which nothing is heard, and knows why it ended. */
export class Watch {
  private readonly _silence: number;
  private _firstPart: number;
  private readonly _controller: AbortController;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _cut: 'buffered' | 'silent' | undefined;

  constructor(silence: number, firstPart: number, controller: AbortController) {
    this._silence = silence;
    this._firstPart = firstPart;
    this._controller = controller;
  }

  get aborted(): boolean {
    return this._controller.signal.aborted;
  }

  /**
   * Something has come. Half a part counts as well, or a long backlog over a slow line would be taken for a
   * buffering proxy; but the rest of it must follow in the same time.
   */
  hear(): void {
    this.stop();
    this._timer = setTimeout(() => {
      this._cut = this._firstPart ? 'buffered' : 'silent';
      this._controller.abort();
    }, this._firstPart || this._silence);
  }

  endFirstPart(): void {
    if (!this._firstPart) return;
    this._firstPart = 0;
    this.hear();
  }

  stop(): void {
    clearTimeout(this._timer);
  }

  /** The outcome of a request that threw. */
  explain(cause: unknown): Outcome {
    if (this._cut === 'buffered') return { kind: 'buffered' };
    if (this._cut) cause = new MessageBusError('request', `nothing was heard for ${this._silence} ms`);
    if (cause instanceof RangeError) cause = new MessageBusError('answer', cause.message, { cause });
    if (cause instanceof MessageBusError) return { kind: 'failed', error: cause };
    return { kind: 'failed', error: new MessageBusError('request', `the request failed: ${String(cause)}`, { cause }) };
  }
}
