import { MessageBusError } from './errors.ts';
import type { Events } from './types.ts';

type Listener<K extends keyof Events> = (value: Events[K]) => void;

/** The listeners of one client. */
export class Emitter {
  private readonly _listeners: { [K in keyof Events]: Set<{ call: Listener<K> }> } = {
    status: new Set(),
    error: new Set(),
    gap: new Set(),
    refused: new Set(),
  };

  /** Each call adds an entry of its own, so that one function added twice is called twice and removed singly. */
  on<K extends keyof Events>(event: K, listener: Listener<K>): () => void {
    const listeners = this._listeners[event];
    if (!listeners) throw new TypeError(`event is ${JSON.stringify(event)}; it must be status, error, gap or refused`);
    const entry = { call: listener };
    listeners.add(entry);
    return () => {
      listeners.delete(entry);
    };
  }

  emit<K extends keyof Events>(event: K, value: Events[K]): void {
    if (event === 'error' && this._listeners.error.size === 0) console.error(value);
    for (const { call } of [...this._listeners[event]]) {
      if (event === 'error') attempt(() => call(value), console.error);
      else this.guard(`a listener for ${event}`, () => call(value));
    }
  }

  /** Runs code of the application. What it throws is reported, and stops nothing else. */
  guard(what: string, run: () => void): void {
    attempt(run, (cause) => {
      this.emit('error', new MessageBusError('callback', `${what} threw ${String(cause)}`, { cause }));
    });
  }
}

function attempt(run: () => void, onThrow: (cause: unknown) => void): void {
  try {
    run();
  } catch (cause) {
    onThrow(cause);
  }
}
