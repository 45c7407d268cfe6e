import { Engine, type Owner } from './engine.ts';
import { MessageBusError } from './errors.ts';
import { Emitter } from './events.ts';
import { iterate } from './messages.ts';
import type { Settings } from './options.ts';
import { beginAt, Position } from './positions.ts';
import { ask, exchangeHttp, encodeFields, readText, type Exchange } from './transport.ts';
import type {
  Callback,
  Client,
  Events,
  Message,
  MessagesOptions,
  SavedPosition,
  Status,
  SubscribeOptions,
} from './types.ts';
import { encodeMarks, parsePart } from './wire.ts';

/**
 * What the modules need that are loaded when they are asked for. They import nothing themselves, so that each
 * is a file of its own and nobody loads anything twice.
 */
export interface Kit {
  readonly ask: typeof ask;
  readonly encodeFields: typeof encodeFields;
  readonly encodeMarks: typeof encodeMarks;
  readonly readText: typeof readText;
  readonly parsePart: typeof parsePart;
  readonly exchangeHttp: Exchange;
  readonly heldBy: typeof heldBy;
  readonly Engine: typeof Engine;
  readonly Position: typeof Position;
  readonly MessageBusError: typeof MessageBusError;
}

export const kit: Kit = {
  ask,
  encodeFields,
  encodeMarks,
  readText,
  parsePart,
  exchangeHttp,
  heldBy,
  Engine,
  Position,
  MessageBusError,
};

interface Subscription {
  readonly position: Position;
  readonly callback: Callback<never>;
}

/** One client: what `createClient` returns. */
export class BusClient implements Client {
  private readonly _settings: Settings;
  private readonly _engine: Engine<Subscription>;
  private readonly _group: Exchange | undefined;
  private readonly _events = new Emitter();
  private readonly _refused = new Set<string>();
  /** Until it is stopped. */
  private _autoStart: boolean;

  constructor(settings: Settings) {
    this._settings = settings;
    const onClientId = (id: string): void => {
      this._engine.clientId = id;
    };
    this._group = settings.share ? lazily(async () => (await import('./share.ts')).share(kit, settings, onClientId)) : undefined;
    const held = this._group ?? heldBy(settings.transport);
    this._engine = new Engine<Subscription>(settings, this._owner(), held, this._group ?? exchangeHttp);
    this._autoStart = settings.autoStart;
  }

  get clientId(): string {
    return this._engine.clientId;
  }

  get status(): Status {
    return this._engine.status;
  }

  start(): void {
    this._engine.start();
  }

  stop(): void {
    this._autoStart = false;
    this._engine.stop();
    this._group?.leave?.();
  }

  subscribe<T = unknown>(channel: string, ...rest: [Callback<T>] | [SubscribeOptions, Callback<T>]): () => void {
    checkChannel(channel);
    const callback = rest[rest.length - 1] as Callback<T>;
    const { from } = (rest.length > 1 ? rest[0] : {}) as SubscribeOptions;
    if (typeof callback !== 'function') throw new TypeError(`callback is ${String(callback)}; it must be a function`);
    const subscription = { position: beginAt(channel, from ?? this._saved(channel) ?? 'latest'), callback };
    this._engine.add(subscription);
    if (this._autoStart) this.start();
    return () => {
      this._engine.remove((other) => other === subscription);
    };
  }

  unsubscribe<T = unknown>(channel: string, callback?: Callback<T>): boolean {
    return this._engine.remove(
      (entry) => entry.position.channel === channel && (callback === undefined || entry.callback === callback),
    );
  }

  messages<T = unknown>(channel: string, options: MessagesOptions = {}): AsyncIterableIterator<Message<T>> {
    return iterate<T>((callback) => this.subscribe(channel, options, callback), options);
  }

  positions(): Record<string, SavedPosition> {
    const saved = new Map<string, SavedPosition>();
    for (const { position } of this._engine.entries) {
      const { channel, wire: id, globalId, epoch } = position;
      const known = saved.get(channel);
      if (id < 0 || (known && known.id <= id)) continue;
      saved.set(channel, { id, ...(globalId ? { globalId } : {}), ...(epoch ? { epoch } : {}) });
    }
    return Object.fromEntries(saved);
  }

  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void {
    return this._events.on(event, listener);
  }

  private _owner(): Owner<Subscription> {
    const events = this._events;
    return {
      deliver: ({ callback }, { channel, message_id: id, global_id: globalId, data }) => {
        const message: Message = { channel, id, globalId, data };
        events.guard(`a callback of ${channel}`, () => (callback as Callback)(message));
      },
      gap: ({ channel, after, next, reason }) => events.emit('gap', { channel, after, next, reason }),
      taken: () => {},
      refused: (channels) => this._refuse(channels),
      status: (status) => events.emit('status', status),
      error: (error) => events.emit('error', error),
    };
  }

  private _refuse(channels: readonly string[]): void {
    const fresh = channels.filter((channel) => !this._refused.has(channel));
    for (const channel of fresh) this._refused.add(channel);
    if (fresh.length > 0) this._events.emit('refused', fresh);
  }

  private _saved(channel: string): SavedPosition | undefined {
    const { positions } = this._settings;
    return Object.keys(positions).includes(channel) ? positions[channel] : undefined;
  }
}

/** The exchange of a transport. */
export function heldBy(transport: Settings['transport']): Exchange {
  if (transport === 'sse') return lazily(async () => (await import('./sse.ts')).sse(kit));
  if (transport === 'ws') return lazily(async () => (await import('./ws.ts')).ws(kit));
  return exchangeHttp;
}

/**
 * Loads an exchange when it is needed. What cannot be loaded, or is missing here, is a failure like any other,
 * and is tried again.
 */
function lazily(load: () => Promise<Exchange>): Exchange {
  let loaded: Exchange | undefined;
  const exchange: Exchange = async (...args) => {
    try {
      loaded ??= await load();
      return await loaded(...args);
    } catch (cause) {
      return { kind: 'failed', error: new MessageBusError('request', `the transport does not work: ${String(cause)}`, { cause }) };
    }
  };
  exchange.leave = () => loaded?.leave?.();
  return exchange;
}

function checkChannel(channel: unknown): void {
  // Fields that begin so belong to the protocol.
  if (typeof channel === 'string' && channel !== '' && !channel.startsWith('__')) return;
  throw new TypeError(`channel is ${JSON.stringify(channel)}; it must be a string, not empty and not begin with __`);
}
