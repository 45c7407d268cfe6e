import type { Callback, Message, MessagesOptions } from './types.ts';

/** Makes an iterator of a subscription, which `subscribe` begins and whose result ends it. */
export function iterate<T>(
  subscribe: (callback: Callback<T>) => () => void,
  { signal }: MessagesOptions,
): AsyncIterableIterator<Message<T>> {
  const waiting: Message<T>[] = [];
  let wake = (): void => {};
  let over = false;
  const end = subscribe((message) => {
    waiting.push(message);
    wake();
  });
  const close = async (): Promise<IteratorReturnResult<undefined>> => {
    over = true;
    signal?.removeEventListener('abort', close);
    end();
    wake();
    return { done: true, value: undefined };
  };
  async function* take(): AsyncGenerator<Message<T>, undefined> {
    while (!over) {
      const message = waiting.shift();
      if (message) yield message;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  signal?.addEventListener('abort', close);
  if (signal?.aborted) void close();
  // A generator that has not begun, or that waits, would not end by itself.
  return Object.assign(take(), { return: close });
}
