import { createEngine } from './engine.ts';
import { MessageBusError } from './errors.ts';
import type { Settings } from './options.ts';
import { planRequest } from './plan.ts';
import { Position } from './positions.ts';
import { ask, exchangeHttp, type Exchange } from './transport.ts';
import { parsePart } from './wire.ts';

/**
 * What the modules need that are loaded when they are asked for. They import nothing themselves, so that each
 * is a file of its own and nobody loads anything twice.
 */
export interface Kit {
  readonly BusError: typeof MessageBusError;
  readonly Place: typeof Position;
  readonly ask: typeof ask;
  readonly createEngine: typeof createEngine;
  readonly exchangeOf: typeof exchangeOf;
  readonly parsePart: typeof parsePart;
  readonly planRequest: typeof planRequest;
}

export const kit: Kit = { ask, createEngine, exchangeOf, parsePart, planRequest, BusError: MessageBusError, Place: Position };

/** What is no part of the core. */
const modules = {
  sse: () => import('./sse.ts'),
  ws: () => import('./ws.ts'),
  share: () => import('./share.ts'),
};

/**
 * The exchange of a transport, or of sharing. One that is no part of the core is loaded when it is needed. What
 * cannot be loaded, or is missing here, is a failure like any other, and is tried again.
 */
export function exchangeOf(name: Settings['transport'] | 'share'): Exchange {
  const load = modules[name as keyof typeof modules];
  if (!load) return exchangeHttp;
  let loaded: Exchange | undefined;
  const exchange: Exchange = async (settings, run) => {
    loaded ??= (await load()).default(kit, settings);
    await loaded(settings, run);
  };
  exchange.leave = () => loaded?.leave?.();
  return exchange;
}
