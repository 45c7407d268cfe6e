import { accept } from './accept.ts';
import type { Entry } from './answer.ts';
import { createEngine } from './engine.ts';
import { createEmitter } from './events.ts';
import { exchangeOf } from './exchanges.ts';
import { iterate } from './messages.ts';
import { resolveOptions } from './options.ts';
import { beginAt } from './positions.ts';
import type { Callback, Client, ClientOptions, SavedPosition, SubscribeOptions } from './types.ts';

interface Subscription extends Entry {
  readonly callback: Callback<never>;
}

/**
 * Makes a client. It sends nothing before the first subscription.
 *
 * Throws a TypeError that names the option, where one cannot be used.
 */
export function createClient(options: ClientOptions = {}): Client {
  const settings = resolveOptions(options);
  const events = createEmitter();
  const group = settings.share ? exchangeOf('share') : undefined;
  let stopped = false;

  const engine = createEngine<Subscription>(
    settings,
    {
      deliver: ({ callback }, message) => events.guard(`a callback of ${message.channel}`, () => (callback as Callback)(message)),
      emit: events.emit,
    },
    group ?? exchangeOf(settings.transport),
    group ?? exchangeOf('poll'),
  );

  const client: Client = {
    get clientId() {
      return settings.clientId;
    },
    get status() {
      return engine.status;
    },
    start: engine.start,
    stop: () => {
      stopped = true;
      engine.stop();
      group?.leave?.();
    },
    subscribe: <T>(channel: string, options: SubscribeOptions | Callback<T>, callback = options as Callback<T>) => {
      // Fields that begin with two underscores belong to the protocol.
      accept('channel', channel, typeof channel === 'string' && /^(?!__)./s.test(channel), 'a name not beginning with __');
      accept('callback', callback, typeof callback === 'function', 'a function');
      const { from = Object.hasOwn(settings.positions, channel) ? settings.positions[channel] : 'latest' } = options as SubscribeOptions;
      const subscription = { position: beginAt(channel, from!), callback };
      engine.add(subscription);
      if (!stopped) engine.start();
      return () => {
        engine.remove((other) => other === subscription);
      };
    },
    unsubscribe: (channel, callback) =>
      engine.remove((entry) => entry.position.channel === channel && (!callback || entry.callback === callback)),
    messages: (channel, options = {}) => iterate((callback) => client.subscribe(channel, options, callback), options),
    positions: () => {
      const saved = new Map<string, SavedPosition>();
      for (const { position } of engine.subscriptions) {
        const { channel, wire: id, globalId, epoch } = position;
        const known = saved.get(channel);
        if (id < 0 || (known && known.id <= id)) continue;
        saved.set(channel, { id, ...(globalId && { globalId }), ...(epoch && { epoch }) });
      }
      return Object.fromEntries(saved);
    },
    on: events.on,
  };
  return client;
}
