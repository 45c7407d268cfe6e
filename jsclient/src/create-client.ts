import { BusClient } from './client.ts';
import { resolveOptions } from './options.ts';
import type { Client, ClientOptions } from './types.ts';

/**
 * Makes a client. It sends nothing before the first subscription, or, without `autoStart`, before `start`.
 *
 * Throws a TypeError that names the option, where one cannot be used.
 */
export function createClient(options: ClientOptions = {}): Client {
  return new BusClient(resolveOptions(options));
}
