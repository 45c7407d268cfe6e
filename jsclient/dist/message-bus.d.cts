/** Handed the options of one request by the drop-in; has the shape of `jQuery.ajax`. */
interface AjaxOptions {
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
    error(xhr: {
        status: number;
        getResponseHeader?(name: string): string | null;
    }, textStatus?: string): void;
    complete(): void;
}
/** One subscription. `last_id` moves as messages come. */
interface Subscribed {
    readonly channel: string;
    readonly func: MessageCallback;
    last_id: number;
}
type MessageCallback = (data: any, globalId: number, messageId: number) => void;
/** What may be set on the global `MessageBus`, at any time. Times are milliseconds. */
interface MessageBusSettings {
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
    ajax: ((options: AjaxOptions) => {
        abort(): void;
    } | undefined | void) | false;
    /** What the client's own `ajax` uses. Default `XMLHttpRequest`. */
    xhrImplementation: (new () => XMLHttpRequest) | undefined;
    /** Hears of what a callback throws and of answers that make no sense, beside the console. */
    onError: ((error: unknown) => void) | undefined;
    /** The subscriptions, in their order. */
    callbacks: Subscribed[];
    /** The request under way. */
    longPoll: {
        abort(): void;
    } | null | undefined | void;
    /** The listener that a started client has on the page. */
    onVisibilityChange: (() => void) | null | undefined;
}
function defaultSettings(clientId: string, ajax: MessageBusSettings['ajax']): MessageBusSettings;
/** What the global `MessageBus` is. Its methods do not need it for `this`. */
interface MessageBus extends MessageBusSettings {
    /** Begins to poll. Does nothing on a started client. */
    start(): void;
    /** Ends the request and sends no more. A later `subscribe` does not start it again. */
    stop(): void;
    /** Keeps back what comes. */
    pause(): void;
    /** Hands out what came meanwhile, in order. */
    resume(): void;
    /** `paused`, `started` or `stopped`. Throws a string when it was never started. */
    status(): 'paused' | 'started' | 'stopped';
    /**
     * Calls `func` for each message of a channel: after the message id `lastId`, from now on with -1, the default,
     * or the newest k and what follows with -(k+1). Starts the client unless it was stopped. Returns `func`.
     */
    subscribe(channel: string, func: MessageCallback, lastId?: number | null): MessageCallback;
    /**
     * Ends the subscriptions of a channel, or those to all that begin so, with a `*` at the end; with `func` only
     * those that have it. Returns whether there were any.
     */
    unsubscribe(channel: string, func?: MessageCallback): boolean;
    /** Writes what there is to know to the console. */
    diagnostics(): void;
    /** Gives the global name back to what had it before, and returns this client. */
    noConflict(): MessageBus;
}
declare const MessageBus: MessageBus;
export = MessageBus;
