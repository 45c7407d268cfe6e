import { randomClientId } from './client-id.ts';
import { accept } from './accept.ts';
import type { ClientOptions, Timing, TransportName } from './types.ts';

/** Options with every default filled in. The client id changes where a group of pages has another one. */
export interface Settings extends Readonly<Required<Omit<ClientOptions, 'timing' | 'clientId' | 'share' | 'identity'>>> {
  readonly timing: Timing;
  readonly share?: boolean;
  readonly identity?: string;
  clientId: string;
}

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
    baseUrl: '/',
    clientId: randomClientId(),
    headers: {},
    credentials: 'same-origin',
    transport: 'auto',
    positions: {},
    // Not the function itself, which browsers refuse to call with another `this`.
    fetch: (url, init) => fetch(url, init),
    ...given(options),
    timing: { ...defaultTiming, ...given(options.timing) },
  };
  const { baseUrl, clientId, transport, timing } = settings;
  accept('baseUrl', baseUrl, baseUrl.endsWith('/'), 'a URL ending in /');
  accept('clientId', clientId, /^[\w.~-]+$/.test(clientId), 'letters, digits, ._~-');
  accept('transport', transport, transports.includes(transport), transports.join());
  for (const [name, value] of Object.entries(timing)) {
    accept(`timing.${name}`, value, value >= 1 && value <= longestTimer, `from 1 to ${longestTimer}`);
  }
  return settings;
}

/** What is not left out, and not undefined either. */
function given<T extends object>(options: T | undefined): T {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as T;
}
