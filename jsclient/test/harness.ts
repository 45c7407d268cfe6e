import { mock, type TestContext } from 'node:test';
import { createClient } from '../src/index.ts';
import type { Client, ClientOptions, FetchInit, FetchResponse, From, Message, MessageBusError, SubscribeOptions } from '../src/index.ts';

const separator = '\r\n|\r\n';

export interface Sent {
  channel: string;
  id: number;
  globalId?: number;
  data?: unknown;
}

/** One request as the server sees it, and the ways to answer it. */
export class Call {
  readonly url: string;
  readonly init: FetchInit;
  /** The form in its order. */
  readonly fields: readonly (readonly [string, string])[];
  /** The member __pos, which is not among the fields. */
  readonly marks: string | undefined;
  /** Since the test began, in milliseconds. */
  readonly at: number;
  #answer!: (response: FetchResponse) => void;
  #fail!: (error: Error) => void;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  readonly response: Promise<FetchResponse>;

  constructor(url: string, init: FetchInit) {
    this.url = url;
    this.init = init;
    const fields = [...new URLSearchParams(init.body)];
    this.fields = fields.filter(([name]) => name !== '__pos');
    this.marks = fields.find(([name]) => name === '__pos')?.[1];
    this.at = Date.now();
    this.response = new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#fail = reject;
    });
    init.signal.addEventListener('abort', () => this.#break(new DOMException('aborted', 'AbortError')));
  }

  get aborted(): boolean {
    return this.init.signal.aborted;
  }

  get streamed(): boolean {
    return !('Dont-Chunk' in this.init.headers);
  }

  /** Answers as JSON, all at once. */
  json(...messages: readonly Sent[]): void {
    this.text(JSON.stringify(messages.map(toWire)), 'application/json; charset=utf-8');
  }

  text(body: string, contentType: string, status = 200, headers: Record<string, string> = {}): void {
    this.#answer(new Response(body, { status, headers: { 'Content-Type': contentType, ...headers } }));
  }

  refuse(status: number, headers: Record<string, string> = {}): void {
    this.text('no', 'text/plain', status, headers);
  }

  /** Sends the head of a streamed answer where it is missing, then one part. */
  part(...messages: readonly Sent[]): void {
    this.raw(JSON.stringify(messages.map(toWire)) + separator);
  }

  raw(text: string): void {
    this.bytes(new TextEncoder().encode(text));
  }

  /** Streams this and ends. */
  whole(text: string): void {
    this.raw(text);
    this.end();
  }

  bytes(bytes: Uint8Array): void {
    this.#open().enqueue(bytes);
  }

  end(): void {
    this.#open().close();
  }

  /** Loses the connection. */
  fail(): void {
    this.#break(new TypeError('connection lost'));
  }

  #open(): ReadableStreamDefaultController<Uint8Array> {
    if (!this.#stream) {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.#stream = controller;
        },
      });
      this.#answer(new Response(body, { headers: { 'Content-Type': 'text/plain; charset=utf-8' } }));
    }
    return this.#stream as unknown as ReadableStreamDefaultController<Uint8Array>;
  }

  #break(error: Error): void {
    this.#fail(error);
    try {
      this.#stream?.error(error);
    } catch {
      // The stream had ended before.
    }
  }
}

function toWire({ channel, id, globalId = id * 10, data = `${channel} ${id}` }: Sent): object {
  return { global_id: globalId, message_id: id, channel, data };
}

export function status(data: Record<string, number>): Sent {
  return { channel: '/__status', id: -1, globalId: -1, data };
}

export interface Bench {
  readonly client: Client;
  readonly calls: Call[];
  /** Subscribes; the callback gets the data by themselves as well. */
  listen(channel: string, callback: (data: never, message: Message) => void, options?: SubscribeOptions): () => void;
  /** The last request so far. */
  last(): Call;
  /** Lets time pass in steps of 50 ms, and everything that it causes happen. */
  pass(milliseconds: number): Promise<void>;
}

/**
 * A client whose server is the test. Time stands still but for `pass`. Tests that use it run one after
 * another, since the clock is the process's.
 */
export function bench(t: TestContext, options: ClientOptions = {}, answer?: (call: Call) => void): Bench {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  const calls: Call[] = [];
  const fetch = (url: string, init: FetchInit): Promise<FetchResponse> => {
    const call = new Call(url, init);
    calls.push(call);
    answer?.(call);
    return call.response;
  };
  const client = createClient({ clientId: 'c1', fetch, ...options });
  t.after(() => {
    client.stop();
    mock.timers.reset();
  });
  const last = (): Call => {
    const call = calls.at(-1);
    if (!call) throw new Error('there was no request');
    return call;
  };
  const listen: Bench['listen'] = (channel, callback, from = {}) =>
    client.subscribe(channel, from, (message) => callback(message.data as never, message));
  return { client, calls, listen, last, pass };
}

/** Subscribes, and returns where the ids of what comes are put. */
export function collect(b: Bench, channel: string, from?: From): number[] {
  const ids: number[] = [];
  b.listen(channel, (_data, { id }) => ids.push(id), from === undefined ? {} : { from });
  return ids;
}

export function errorsOf(b: Bench): MessageBusError[] {
  const errors: MessageBusError[] = [];
  b.client.on('error', (error) => errors.push(error));
  return errors;
}

async function pass(milliseconds: number): Promise<void> {
  await settle();
  for (let left = milliseconds; left > 0; left -= 50) {
    mock.timers.tick(Math.min(50, left));
    await settle();
  }
}

/** Resolves when all promises that can settle by themselves have. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
