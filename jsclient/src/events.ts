import { accept } from './accept.ts';
import { MessageBusError } from './errors.ts';
import type { Events } from './types.ts';

type Listener<K extends keyof Events> = (value: Events[K]) => void;

/** The listeners of one client. */
export interface Emitter {
  /** Each call adds an entry of its own, so that one function added twice is called twice and removed singly. */
  on<K extends keyof Events>(event: K, listener: Listener<K>): () => void;
  emit<K extends keyof Events>(event: K, value: Events[K]): void;
  /** Runs code of the application. What it throws is reported, and stops nothing else. */
  guard(what: string, run: () => void): void;
}

export function createEmitter(): Emitter {
  const listeners: { [K in keyof Events]: Set<{ call: Listener<K> }> } = {
    status: new Set(),
    error: new Set(),
    gap: new Set(),
    refused: new Set(),
  };

  const guard = (what: string, run: () => void, report = (error: MessageBusError): void => emit('error', error)): void => {
    try {
      run();
    } catch (cause) {
      report(new MessageBusError('callback', `${what} threw`, { cause }));
    }
  };
  const emit = <K extends keyof Events>(event: K, value: Events[K]): void => {
    const isError = event === 'error';
    if (isError && listeners.error.size === 0) console.error(value);
    for (const { call } of [...listeners[event]]) guard(`${event} listener`, () => call(value), isError ? console.error : undefined);
  };
  return {
    on: (event, listener) => {
      accept('event', event, event in listeners, Object.keys(listeners).join());
      const entry = { call: listener };
      listeners[event].add(entry);
      return () => {
        listeners[event].delete(entry);
      };
    },
    emit,
    guard,
  };
}
