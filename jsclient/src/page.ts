/** What a client wants to hear of the page that it is in. */
export interface PageEvents {
  /** It is worth asking the server at once: the page shows again, or the network is back. */
  onReturn(): void;
  /** What was open is not worth waiting for: the page was frozen, or the machine asleep. */
  onRenew(): void;
  /** The page is kept in memory, or frozen, from now on: nothing may stay open. `onRenew` ends that. */
  onLeave(): void;
}

const tick = 1_000;
/** A timer of a page that shows is never late by so much, unless the machine slept. */
const sleepLasts = 10_000;

/** Whether the page is hidden. False where there is no page. */
export function isPageHidden(): boolean {
  return typeof document !== 'undefined' && document.hidden;
}

/** Watches the page, and returns a function that ends this. */
export function watchPage(events: PageEvents): () => void {
  const page = typeof document === 'undefined' ? undefined : document;
  const network = typeof window === 'undefined' ? undefined : window;
  const listeners: [EventTarget | undefined, string, (event: Event) => void][] = [
    [page, 'visibilitychange', () => isPageHidden() || events.onReturn()],
    [page, 'freeze', () => events.onLeave()],
    [page, 'resume', () => events.onRenew()],
    [network, 'online', () => events.onReturn()],
    [network, 'pagehide', () => events.onLeave()],
    [network, 'pageshow', (event) => (event as PageTransitionEvent).persisted && events.onRenew()],
  ];
  for (const [target, type, listener] of listeners) target?.addEventListener(type, listener);
  const endSleepWatch = page ? watchSleep(() => events.onRenew()) : undefined;
  return () => {
    for (const [target, type, listener] of listeners) target?.removeEventListener(type, listener);
    endSleepWatch?.();
  };
}

/** Calls back when the clock has gone on without the page. Timers of hidden pages are late without any sleep. */
function watchSleep(onWake: () => void): () => void {
  let last = Date.now();
  let timer: ReturnType<typeof setTimeout>;
  const look = (): void => {
    const now = Date.now();
    if (now - last > sleepLasts && !isPageHidden()) onWake();
    last = now;
    timer = setTimeout(look, tick);
  };
  look();
  return () => {
    clearTimeout(timer);
  };
}
