const separator = '\r\n|\r\n';
const overlap = separator.length - 1;

/**
 * Cuts a streamed answer into its parts, each of which ends with a separator line. Pieces of text may be
 * pushed as they come, split anywhere.
 *
 * What has been searched is never searched again: only the last four characters, which may be the start of
 * a separator, are put before the next piece. Pieces of an unfinished part are kept apart and joined once,
 * since a growing string would be copied at every search, which makes one long part in small pieces O(n²).
 */
export class PartParser {
  private readonly _onPart: (part: string) => void;
  private readonly _maxLength: number;
  private _pieces: string[] = [];
  private _piecesLength = 0;
  private _edge = '';

  constructor(onPart: (part: string) => void, maxLength: number) {
    this._onPart = onPart;
    this._maxLength = maxLength;
  }

  /**
   * Takes the next piece, and calls back for each part that it completes.
   * Throws a RangeError once a part exceeds the maximum; the parser is of no use afterwards.
   */
  push(text: string): void {
    const window = this._edge + text;
    let start = 0;
    for (let end = window.indexOf(separator); end >= 0; end = window.indexOf(separator, start)) {
      this._finish(window.slice(start, end));
      start = end + separator.length;
    }
    this._keep(window.slice(start));
  }

  private _finish(last: string): void {
    this._checkLength(this._piecesLength + last.length);
    const part = this._pieces.join('') + last;
    this._pieces = [];
    this._piecesLength = 0;
    this._onPart(part.replace(/\r\n\|\|\r\n/g, separator));
  }

  private _keep(rest: string): void {
    const cut = Math.max(0, rest.length - overlap);
    this._edge = rest.slice(cut);
    if (cut === 0) return;
    this._pieces.push(rest.slice(0, cut));
    this._piecesLength += cut;
    // The edge may belong to the separator, so that it does not count yet.
    this._checkLength(this._piecesLength);
  }

  private _checkLength(length: number): void {
    if (length > this._maxLength) {
      throw new RangeError(`a part is longer than maxPartLength, ${this._maxLength} characters`);
    }
  }
}
