import type { MessageBusError } from './errors.ts';

/** A position as `positions` returns it; can be stored as JSON. */
export interface SavedPosition {
  /** The message id up to which the channel has been received. */
  readonly id: number;
  /** The global id that came with it, if it is known. */
  readonly globalId?: number;
  /** The life of the store that the ids belong to, if it is known: by it the server can tell of losses. */
  readonly epoch?: string;
}

/**
 * Where a subscription begins.
 *
 * - `'latest'`: only messages that are published after the server has answered.
 * - a number: every message with a higher message id. A whole number, 0 or more; 0 is everything that is stored.
 * - `{ last: k }`: the newest `k` stored messages, then new ones. `k` is a whole number, 1 or more.
 * - a saved position: everything after it, and a `gap` event where the server cannot give that any more.
 */
export type From = 'latest' | number | { readonly last: number } | SavedPosition;

/** One message, as handed to a callback. `data` is whatever JSON the publisher sent. */
export interface Message<T = unknown> {
  readonly channel: string;
  /** The message id: counts the messages of this channel. */
  readonly id: number;
  /** The global id: counts the messages of the whole store, and gives them their order. */
  readonly globalId: number;
  readonly data: T;
}

/**
 * Called once for each message, in the order of their global ids; but for one that the store itself got late,
 * which comes when it comes. What it throws becomes an `error` event.
 */
export type Callback<T = unknown> = (message: Message<T>) => void;

/**
 * Messages of a channel that may be lost: those with an id between `after` and `next`, both excluded.
 * With the reason `reset` the ids started again: `after` is the last old id and `next` the first new one.
 * The subscription goes on behind the gap. A gap may be reported where nothing was lost.
 */
export interface Gap {
  readonly channel: string;
  readonly after: number;
  readonly next: number;
  /** `trimmed`, `reset`, `failover` or `possible`; a newer server may know further ones. */
  readonly reason: string;
}

/**
 * - `stopped`: not started, or stopped.
 * - `connecting`: started, and nothing answered yet.
 * - `connected`: the last answer was good.
 * - `retrying`: the last request failed; another one goes out by itself.
 * - `away`: the page is frozen or kept in memory, and nothing is asked until it is back.
 */
export type Status = 'stopped' | 'connecting' | 'connected' | 'retrying' | 'away';

/** What `on` listens to, and what each listener receives. */
export interface Events {
  /** The status has changed. */
  status: Status;
  /** A request failed or a callback threw. The client goes on. Without a listener it is written to the console. */
  error: MessageBusError;
  /** Messages may be lost. */
  gap: Gap;
  /** Channels that the server does not give to this client, when it says so for the first time. */
  refused: readonly string[];
}

/** Spacing of the requests. All but `retryChunkedAfterRequests` are milliseconds, from 1 to 2147483647. */
export interface Timing {
  /** The shortest time between the starts of two requests, and between the end of one and the next. Default 100. */
  minPollInterval: number;
  /** The longest wait after failures. Default 180000. */
  maxPollInterval: number;
  /** Spacing, from start to start, of requests that are not held. Default 15000. */
  callbackInterval: number;
  /** The same while the page is hidden. Default 60000. */
  backgroundCallbackInterval: number;
  /** How long a stream may show nothing before a buffering proxy is assumed and streaming is given up. Default 3000. */
  firstChunkTimeout: number;
  /** How many held requests go without streaming after that. A whole number, 0 or more. Default 30. */
  retryChunkedAfterRequests: number;
  /**
   * How long an answer may be silent before the connection is taken for dead. Must be longer than the
   * server holds a request (25 s by default). Default 90000. WebSockets are not judged by it: browsers do
   * not show the server's pings.
   */
  silenceTimeout: number;
}

/** Request headers, or a function that makes them before each request, which waits for it and fails where it fails. */
export type HeadersSource =
  | Readonly<Record<string, string>>
  | (() => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);

/** The part of a fetch response that the client uses. */
export interface FetchResponse {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  /** Null where the implementation cannot stream: the answer is then read whole. */
  readonly body: ReadableStream<Uint8Array> | null;
  text(): Promise<string>;
}

/** The part of fetch's second argument that the client sets. */
export interface FetchInit {
  readonly method: 'POST' | 'GET';
  readonly headers: Record<string, string>;
  readonly body?: URLSearchParams;
  readonly credentials: RequestCredentials;
  readonly signal: AbortSignal;
}

/** What the client needs of `fetch`. It must obey the signal, in the request as well as in the body. */
export type FetchLike = (url: string, init: FetchInit) => Promise<FetchResponse>;

/**
 * How messages come.
 *
 * - `auto`: as `stream`, but as `poll` for a while where a proxy keeps streams back.
 * - `stream`: requests that the server holds, and answers in parts.
 * - `poll`: requests that the server holds until there is a message.
 * - `sse`: server-sent events, read by `fetch`, so that `headers` go with them.
 * - `ws`: a WebSocket, on which subscriptions come and go without a new connection. Cannot carry `headers`.
 *
 * A hidden page polls with all of them. A server of the gem knows neither `sse` nor `ws`.
 */
export type TransportName = 'auto' | 'stream' | 'poll' | 'sse' | 'ws';

/** Settings of a client. All have defaults. */
export interface ClientOptions {
  /** What stands before `message-bus/…`; ends in a slash. Default `/`. */
  baseUrl?: string;
  /** Names this client to the server: letters, digits, `.`, `_`, `~` and `-`. Default: random. */
  clientId?: string;
  /** Sent with every request. Default: none. */
  headers?: HeadersSource;
  /** As in `fetch`. Default `same-origin`. */
  credentials?: RequestCredentials;
  /** Default `auto`. */
  transport?: TransportName;
  /** Where channels begin whose subscription names no `from`, as `positions` has returned it. */
  positions?: Readonly<Record<string, SavedPosition>>;
  /**
   * Whether all pages of the origin that set this have one connection together, those with the same `baseUrl`
   * and `identity`. Default false. Ends in a connection of its own where the browser cannot do that.
   */
  share?: boolean;
  /** Whose messages these are, such as a user's id: pages with another one share nothing with this. Default empty. */
  identity?: string;
  timing?: Partial<Timing>;
  /** Default: the global `fetch`. */
  fetch?: FetchLike;
}

/** How a subscription begins. */
export interface SubscribeOptions {
  /** Default: what the client's `positions` say, else `'latest'`. */
  readonly from?: From;
}

/** How an iteration begins and ends. */
export interface MessagesOptions extends SubscribeOptions {
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal;
}

/** A client of one server: one request at a time carries all its channels. */
export interface Client {
  /** What the server knows this client by. With `share`, that of all pages together, once they are connected. */
  readonly clientId: string;
  readonly status: Status;

  /**
   * Begins to send requests, as long as there are subscriptions. The first subscription does so by itself, but not
   * once the client was stopped. Does nothing on a started client.
   */
  start(): void;

  /**
   * Ends the request and sends no more; no callback runs afterwards. Subscriptions keep their positions,
   * and `start` goes on from there.
   */
  stop(): void;

  /**
   * Calls `callback` for each message of `channel`, beginning at `from`. The same callback may be subscribed
   * twice, and is then called twice.
   *
   * Throws a TypeError for a channel that is empty or begins with `__`, and for an unknown `from`.
   *
   * @returns a function that ends this subscription; it may be called more than once.
   */
  subscribe<T = unknown>(channel: string, callback: Callback<T>): () => void;
  subscribe<T = unknown>(channel: string, options: SubscribeOptions, callback: Callback<T>): () => void;

  /**
   * Ends the subscriptions of a channel, or only those with this callback.
   *
   * @returns whether there were any.
   */
  unsubscribe<T = unknown>(channel: string, callback?: Callback<T>): boolean;

  /**
   * The messages of a channel one after the other. The subscription begins with this call and ends with the
   * loop, or by the signal. What comes while the loop is busy waits in memory.
   */
  messages<T = unknown>(channel: string, options?: MessagesOptions): AsyncIterableIterator<Message<T>>;

  /** Where each channel stands: of several subscriptions to it, the one that is furthest behind. */
  positions(): Record<string, SavedPosition>;

  /**
   * Adds a listener. What a listener throws becomes an `error` event, or goes to the console where the
   * event was one.
   *
   * @returns a function that removes it.
   */
  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void;
}
