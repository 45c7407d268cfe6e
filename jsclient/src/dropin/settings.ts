/** Handed the options of one request by the drop-in; has the shape of `jQuery.ajax`. */
export interface AjaxOptions {
  url: string;
  data: Record<string, number | string>;
  async: true;
  dataType: 'text' | 'json';
  type: 'POST';
  headers: Record<string, string>;
  messageBus: {
    chunked: boolean;
    /** To be called with the request that will be sent, if `chunked`; sets its `onprogress`. */
    onProgressListener(xhr: XMLHttpRequest): () => void;
  };
  xhr(): XMLHttpRequest;
  success(messages: unknown): void;
  error(xhr: { status: number; getResponseHeader?(name: string): string | null }, textStatus?: string): void;
  complete(): void;
}

/** One subscription. `last_id` moves as messages come. */
export interface Subscribed {
  readonly channel: string;
  readonly func: MessageCallback;
  last_id: number;
}

export type MessageCallback = (data: any, globalId: number, messageId: number) => void;

/** What may be set on the global `MessageBus`, at any time. Times are milliseconds. */
export interface MessageBusSettings {
  /** Stands before `message-bus/…`; ends in a slash. Default `/`. */
  baseUrl: string;
  /** Default: random. */
  clientId: string;
  /** Sent with every request. Default: none. */
  headers: Record<string, string>;
  /** Whether requests may be held. Default true. */
  enableLongPolling: boolean;
  /** Whether answers may come in parts. Default true. */
  enableChunkedEncoding: boolean;
  /** Whether requests are held for hidden pages, too. Default false. */
  alwaysLongPoll: boolean;
  /** Says whether a request may be held, in place of whether the page is visible. */
  shouldLongPollCallback: (() => boolean) | undefined;
  /** Default 100. */
  minPollInterval: number;
  /** The longest wait after failures. Default 180000. */
  maxPollInterval: number;
  /** From the start of a request to the next. Default 15000. */
  callbackInterval: number;
  /** The same where requests are not held. Default 60000. */
  backgroundCallbackInterval: number;
  /** The same for all hidden pages of an origin together. Default 1500. */
  minHiddenPollInterval: number;
  /** How long an answer in parts may show nothing before a buffering proxy is assumed. Default 3000. */
  firstChunkTimeout: number;
  /** How many requests do without parts after that. Default 30. */
  retryChunkedAfterRequests: number;
  /** Sends the requests. Default: `jQuery.ajax`, if jQuery was there first; false: the client's own. */
  ajax: ((options: AjaxOptions) => { abort(): void } | undefined | void) | false;
  /** What the client's own `ajax` uses. Default `XMLHttpRequest`. */
  xhrImplementation: (new () => XMLHttpRequest) | undefined;
  /** Hears of what a callback throws and of answers that make no sense, beside the console. */
  onError: ((error: unknown) => void) | undefined;
  /** The subscriptions, in their order. */
  callbacks: Subscribed[];
  /** The request under way. */
  longPoll: { abort(): void } | null | undefined | void;
  /** The listener that a started client has on the page. */
  onVisibilityChange: (() => void) | null | undefined;
}

export function defaultSettings(clientId: string, ajax: MessageBusSettings['ajax']): MessageBusSettings {
  return {
    minHiddenPollInterval: 1_500,
    enableChunkedEncoding: true,
    enableLongPolling: true,
    callbackInterval: 15_000,
    backgroundCallbackInterval: 60_000,
    minPollInterval: 100,
    maxPollInterval: 180_000,
    callbacks: [],
    clientId,
    alwaysLongPoll: false,
    shouldLongPollCallback: undefined,
    firstChunkTimeout: 3_000,
    retryChunkedAfterRequests: 30,
    baseUrl: '/',
    headers: {},
    ajax,
    xhrImplementation: undefined,
    onError: undefined,
    longPoll: undefined,
    onVisibilityChange: undefined,
  };
}
