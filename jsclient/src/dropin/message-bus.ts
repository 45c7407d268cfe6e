import { randomClientId } from '../client-id.ts';
import { Poller } from './poller.ts';
import { defaultSettings, type MessageBusSettings, type MessageCallback } from './settings.ts';

/** What the global `MessageBus` is. Its methods do not need it for `this`. */
export interface MessageBus extends MessageBusSettings {
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

/** Makes the client; `restore` gives the global name back. */
export function createMessageBus(ajax: MessageBusSettings['ajax'], restore: () => void): MessageBus {
  const settings = defaultSettings(randomClientId(), ajax);
  const poller = new Poller(settings as MessageBus);
  const me: MessageBus = Object.assign(settings, {
    start: () => poller.start(),
    stop: () => poller.stop(),
    pause: () => poller.pause(),
    resume: () => poller.resume(),
    status: () => statusOf(poller),
    subscribe: (channel: string, func: MessageCallback, lastId?: number | null) => {
      if (poller.running === undefined) poller.start();
      me.callbacks.push({ last_id: checkLastId(lastId), channel: checkChannel(channel), func });
      poller.interrupt();
      return func;
    },
    unsubscribe: (channel: string, func?: MessageCallback) => {
      const removed = remove(me.callbacks, channel, func);
      if (removed) poller.interrupt();
      return removed;
    },
    diagnostics: () => diagnose(poller, me.callbacks),
    noConflict: () => {
      restore();
      return me;
    },
  });
  return me;
}

function statusOf(poller: Poller): 'paused' | 'started' | 'stopped' {
  if (poller.paused) return 'paused';
  if (poller.running === undefined) throw 'Cannot determine current status';
  return poller.running;
}

// Strings are what applications get thrown by the gem's client.
function checkLastId(lastId: unknown): number {
  if (lastId === null || lastId === undefined) return -1;
  if (typeof lastId !== 'number') throw `lastId has type ${typeof lastId} but a number was expected.`;
  return lastId;
}

function checkChannel(channel: unknown): string {
  if (typeof channel !== 'string') throw 'Channel name must be a string!';
  return channel;
}

function remove(callbacks: MessageBusSettings['callbacks'], name: string, func?: MessageCallback): boolean {
  const prefix = name.endsWith('*') ? name.slice(0, -1) : undefined;
  const before = callbacks.length;
  for (let i = before - 1; i >= 0; i--) {
    const { channel, func: own } = callbacks[i]!;
    const named = prefix === undefined ? channel === name : channel.startsWith(prefix);
    if (named && (!func || func === own)) callbacks.splice(i, 1);
  }
  return callbacks.length < before;
}

function diagnose(poller: Poller, callbacks: MessageBusSettings['callbacks']): void {
  const { running, calls, failuresInARow, failures, lastCall } = poller;
  const stopped = running && running === 'stopped';
  console.log(`Stopped: ${stopped} Started: ${running === 'started'}`);
  console.log('Current callbacks');
  console.log(callbacks);
  console.log(`Total ajax calls: ${calls} Recent failure count: ${failuresInARow} Total failures: ${failures}`);
  console.log(`Last ajax call: ${(Date.now() - lastCall) / 1000} seconds ago`);
}
