import { createPartParser } from '../chunks.ts';
import type { Message } from '../types.ts';
import { parsePart } from '../wire.ts';
import type { AjaxOptions } from './settings.ts';
import type { End } from './schedule.ts';

const mostPartCharacters = 2 ** 24;
/** The answer of a server that does not stream says so by exactly this. */
const wholeType = 'application/json; charset=utf-8';

/** What the request needs of its owner. */
export interface Owner {
  /** Takes one array of messages. */
  take(request: Request, part: readonly Message[]): void;
  /** The request is over; called once. */
  finish(request: Request): void;
  /** An answer made no sense. */
  complain(request: Request, error: unknown): void;
}

/** One request of the drop-in, from the options of its `ajax` call to its end. */
export class Request {
  readonly startedAt: number = Date.now();
  readonly data: AjaxOptions['data'];
  /** How it ended. */
  end: End['kind'] = 'quiet';
  retryAfter: string | null = null;
  /** How many arrays have been taken. */
  parts = 0;
  /** The next one is not to wait. */
  readonly lookUp: boolean;
  /** What `ajax` has returned. */
  sent: (Partial<Pick<XMLHttpRequest, 'getResponseHeader'>> & { abort(): void }) | undefined | void;
  /** Nothing came in time: something in between keeps the answer back. */
  buffered = false;
  private readonly _owner: Owner;
  private readonly _firstChunkTimeout: number;
  private _chunked: boolean;
  private _over = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _xhr: XMLHttpRequest | undefined;

  constructor(owner: Owner, data: AjaxOptions['data'], lookUp: boolean, chunked: boolean, firstChunkTimeout: number) {
    this._owner = owner;
    this.data = data;
    this.lookUp = lookUp;
    this._chunked = chunked;
    this._firstChunkTimeout = firstChunkTimeout;
  }

  options(url: string, headers: Record<string, string>): AjaxOptions {
    const request = this;
    const chunked = this._chunked;
    return {
      url,
      data: this.data,
      async: true,
      dataType: chunked ? 'text' : 'json',
      type: 'POST',
      headers,
      messageBus: { chunked, onProgressListener: (xhr) => this._listen(xhr) },
      // jQuery calls it with the options for `this`.
      xhr(this: AjaxOptions) {
        const xhr = jQuery!.ajaxSettings.xhr();
        if (chunked) this.messageBus.onProgressListener(xhr);
        else request._xhr = xhr;
        return xhr;
      },
      success: (messages) => this._succeed(messages),
      error: (xhr, textStatus) => this._fail(xhr, textStatus),
      complete: () => this.close(),
    };
  }

  /** Ends it; what happens then is what `kind` says. */
  abort(kind: End['kind']): void {
    this.end = kind;
    this.sent?.abort();
  }

  /** A header of the answer; empty where there is none. */
  header(name: string): string {
    return this._xhr?.getResponseHeader(name) ?? this.sent?.getResponseHeader?.(name) ?? '';
  }

  close(): void {
    clearTimeout(this._timer);
    if (this._over) return;
    this._over = true;
    this._owner.finish(this);
  }

  private _listen(xhr: XMLHttpRequest): () => void {
    const parser = createPartParser((part) => this._take(parsePart(part)), mostPartCharacters);
    let position = 0;
    this._xhr = xhr;
    this._timer = setTimeout(() => {
      this.buffered = true;
      this.abort('aborted');
    }, this._firstChunkTimeout);
    const listener = (): void => {
      clearTimeout(this._timer);
      if (this._over || this.end === 'failed') return;
      if (xhr.getResponseHeader('Content-Type') === wholeType) {
        this._chunked = false;
        return;
      }
      const text = xhr.responseText.slice(position);
      position += text.length;
      this._guard(() => parser.push(text));
    };
    xhr.onprogress = listener;
    return listener;
  }

  private _take(part: Message[]): void {
    if (this._over) return;
    this.parts += 1;
    this._owner.take(this, part);
  }

  private _succeed(messages: unknown): void {
    if (this._chunked) {
      // What comes without a part, as a page that asks for a password does, is not from a message bus.
      if (this.parts === 0 && messages !== '') this._guard(() => parsePart(String(messages)));
      return;
    }
    this._guard(() => {
      const part = parsePart(typeof messages === 'string' ? messages : JSON.stringify(messages ?? []));
      if (part.length > 0) this.end = 'data';
      this._take(part);
    });
  }

  /** Ends the request as failed where the answer makes no sense. */
  private _guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this._owner.complain(this, error);
      this.abort('failed');
    }
  }

  private _fail(xhr: Parameters<AjaxOptions['error']>[0], textStatus?: string): void {
    if (this.end === 'failed' || this.end === 'aborted') return;
    if (xhr.status === 429) {
      this.end = 'limited';
      this.retryAfter = xhr.getResponseHeader?.('Retry-After') ?? null;
    } else {
      this.end = textStatus === 'abort' ? 'aborted' : 'failed';
    }
  }
}

declare const jQuery: { ajaxSettings: { xhr(): XMLHttpRequest }; ajax: unknown } | undefined;
