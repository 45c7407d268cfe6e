/** Whether the page is hidden. False where there is no page. */
export function isPageHidden(): boolean {
  return typeof document !== 'undefined' && document.hidden;
}

/**
 * Calls back whenever it is worth asking the server at once: the page shows again, or the network is back.
 * Returns a function that ends this.
 */
export function watchPage(onReturn: () => void): () => void {
  const onVisibility = (): void => {
    if (!isPageHidden()) onReturn();
  };
  const page = typeof document === 'undefined' ? undefined : document;
  const network = typeof window === 'undefined' ? undefined : window;
  page?.addEventListener('visibilitychange', onVisibility);
  network?.addEventListener('online', onReturn);
  return () => {
    page?.removeEventListener('visibilitychange', onVisibility);
    network?.removeEventListener('online', onReturn);
  };
}
