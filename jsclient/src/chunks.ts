import { MessageBusError } from './errors.ts';

/** So many characters a part may have, by default. */
export const longestPart: number = 2 ** 24;

const separator = '\r\n|\r\n';
const overlap = separator.length - 1;

export interface PartParser {
  /**
   * Takes the next piece of the answer, and calls back for each part that it completes.
   * Throws once a part is too long; the parser is of no use afterwards.
   */
  push(text: string): void;
  /** Takes what stands after the last separator. */
  rest(): string;
}

/**
 * Cuts a streamed answer into its parts, each of which ends with a separator line. Pieces of text may be
 * pushed as they come, split anywhere.
 *
 * What has been searched is never searched again: only the last four characters, which may be the start of
 * a separator, are put before the next piece. Pieces of an unfinished part are kept apart and joined once,
 * since a growing string would be copied at every search, which makes one long part in small pieces O(n²).
 */
export function createPartParser(onPart: (part: string) => void, maxLength: number = longestPart): PartParser {
  let pieces: string[] = [];
  let length = 0;
  let edge = '';

  const keep = (text: string): void => {
    pieces.push(text);
    length += text.length;
    if (length > maxLength) throw new MessageBusError('answer', 'a part is too long');
  };
  const take = (last: string): string => {
    keep(last);
    const part = pieces.join('');
    pieces = [];
    length = 0;
    return part;
  };
  return {
    push: (text) => {
      const parts = (edge + text).split(separator);
      const rest = parts.pop()!;
      for (const part of parts) onPart(take(part).replace(/\r\n\|\|\r\n/g, separator));
      // The edge may belong to the separator, so that it does not count yet.
      const cut = Math.max(0, rest.length - overlap);
      keep(rest.slice(0, cut));
      edge = rest.slice(cut);
    },
    rest: () => take(edge),
  };
}
