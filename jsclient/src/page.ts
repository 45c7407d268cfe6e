/** What a client wants to hear of the page that it is in. */
export interface PageEvents {
  /** It is worth asking the server at once: the page shows again, or the network is back. */
  onReturn(): void;
  /** What was open is not worth waiting for: the page was frozen, or the machine asleep. */
  onRenew(): void;
  /** The page is kept in memory, or frozen, from now on: nothing may stay open. `onRenew` ends that. */
  onLeave(): void;
}

const types = ['visibilitychange', 'freeze', 'resume', 'online', 'pagehide', 'pageshow'];
const tick = 1_000;
/** A timer of a page that shows is never late by so much, unless the machine slept. */
const sleepLasts = 10_000;

/** Whether the page is hidden. False where there is no page. */
export function isPageHidden(): boolean {
  return globalThis.document?.hidden ?? false;
}

/** Watches the page, and returns a function that ends this. Where there is none, it does nothing. */
export function watchPage({ onReturn, onRenew, onLeave }: PageEvents): () => void {
  if (!globalThis.document) return () => {};
  const hear = ({ type, persisted }: Event & { persisted?: boolean }): void => {
    if (type === 'freeze' || type === 'pagehide') onLeave();
    else if (type === 'resume' || persisted) onRenew();
    else if (type === 'online' || (type === 'visibilitychange' && !isPageHidden())) onReturn();
  };
  const change = (verb: 'add' | 'remove'): void => {
    // Those of the document are heard on their way down from the window.
    for (const type of types) window[`${verb}EventListener`](type, hear, true);
  };
  change('add');
  let last = Date.now();
  const watch = setInterval(() => {
    const now = Date.now();
    // Timers of hidden pages are late without any sleep.
    if (now - last > sleepLasts && !isPageHidden()) onRenew();
    last = now;
  }, tick);
  return () => {
    change('remove');
    clearInterval(watch);
  };
}
