import type { Callback, Message, MessagesOptions } from './types.ts';

/** Makes an iterator of a subscription, which `subscribe` begins and whose result ends it. */
export function iterate<T>(
  subscribe: (callback: Callback<T>) => () => void,
  { signal }: MessagesOptions,
): AsyncIterableIterator<Message<T>> {
  const waiting: Message<T>[] = [];
  const takers: ((result: IteratorResult<Message<T>>) => void)[] = [];
  let over = signal?.aborted === true;
  const end = over
    ? (): void => {}
    : subscribe((message) => {
        const taker = takers.shift();
        if (taker) taker({ done: false, value: message });
        else waiting.push(message);
      });
  const close = async (): Promise<IteratorReturnResult<undefined>> => {
    over = true;
    waiting.length = 0;
    signal?.removeEventListener('abort', close);
    end();
    for (const taker of takers.splice(0)) taker({ done: true, value: undefined });
    return { done: true, value: undefined };
  };
  signal?.addEventListener('abort', close);
  return {
    next: async () => {
      const message = waiting.shift();
      if (message) return { done: false, value: message };
      if (over) return { done: true, value: undefined };
      return new Promise((resolve) => takers.push(resolve));
    },
    return: close,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
