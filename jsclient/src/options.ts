import { randomClientId } from './client-id.ts';
import type { ClientOptions, Timing, TransportName } from './types.ts';

/** Options with every default filled in. */
export type Settings = Required<Omit<ClientOptions, 'timing'>> & { readonly timing: Timing };

// The gem's defaults, but for the last one, which the gem does not have.
const defaultTiming: Timing = {
  minPollInterval: 100,
  maxPollInterval: 180_000,
  callbackInterval: 15_000,
  backgroundCallbackInterval: 60_000,
  firstChunkTimeout: 3_000,
  retryChunkedAfterRequests: 30,
  silenceTimeout: 90_000,
};

const transports: readonly TransportName[] = ['auto', 'stream', 'poll', 'sse', 'ws'];

/** Beyond this, timers fire at once. */
const longestTimer = 2 ** 31 - 1;

/** Fills in the defaults. Throws a TypeError that names the first option that cannot be used. */
export function resolveOptions(options: ClientOptions): Settings {
  const settings: Settings = {
    baseUrl: options.baseUrl ?? '/',
    clientId: options.clientId ?? randomClientId(),
    headers: options.headers ?? {},
    credentials: options.credentials ?? 'same-origin',
    longPolling: options.longPolling ?? true,
    transport: options.transport ?? 'auto',
    autoStart: options.autoStart ?? true,
    positions: options.positions ?? {},
    share: options.share ?? false,
    identity: options.identity ?? '',
    maxPartLength: options.maxPartLength ?? 16 * 1024 * 1024,
    // Called through the global object, since browsers refuse to call it with another `this`.
    fetch: options.fetch ?? ((url, init) => globalThis.fetch(url, init)),
    timing: resolveTiming(options.timing ?? {}),
  };
  accept('baseUrl', settings.baseUrl, settings.baseUrl.endsWith('/'), 'end in a slash');
  accept('clientId', settings.clientId, /^[\w.~-]+$/.test(settings.clientId), 'be letters, digits and ._~-');
  accept('transport', settings.transport, transports.includes(settings.transport), `be one of ${transports.join(', ')}`);
  accept('maxPartLength', settings.maxPartLength, settings.maxPartLength > 0, 'be more than 0');
  return settings;
}

function resolveTiming(given: Partial<Timing>): Timing {
  const timing = { ...defaultTiming };
  for (const name of Object.keys(timing) as (keyof Timing)[]) {
    const value = given[name] ?? timing[name];
    const least = name === 'retryChunkedAfterRequests' ? 0 : 1;
    accept(`timing.${name}`, value, value >= least && value <= longestTimer, `be from ${least} to ${longestTimer}`);
    timing[name] = value;
  }
  return timing;
}

function accept(name: string, value: unknown, ok: boolean, must: string): void {
  if (!ok) throw new TypeError(`${name} is ${JSON.stringify(value)}; it must ${must}`);
}
