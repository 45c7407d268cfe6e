/** The name by which old browsers know `document.hidden`. */
const hiddenName = ['mozHidden', 'msHidden', 'webkitHidden', 'hidden'].filter((name) => name in document).pop();

/** Whether the page is hidden. */
export function isHidden(): boolean {
  return hiddenName !== undefined && Boolean((document as unknown as Record<string, unknown>)[hiddenName]);
}

/** When any page of the origin has polled last, for hidden pages; NaN where that is not to be had. */
export function lastPollOfOrigin(): number {
  try {
    return Number.parseInt(localStorage.getItem('__mbLastAjax') ?? '', 10);
  } catch {
    return Number.NaN;
  }
}

export function notePollOfOrigin(now: number): void {
  try {
    localStorage.setItem('__mbLastAjax', String(now));
  } catch {
    // The page has no storage, or it is full: then hidden pages do not wait for each other.
  }
}
