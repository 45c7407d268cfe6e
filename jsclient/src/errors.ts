/**
 * - `callback`: a callback or a listener threw; `cause` is what it threw.
 * - `request`: no answer came, or it broke off; `cause` is what `fetch` or the `headers` function threw.
 * - `refused`: the server answered with an error; `status` is its HTTP status.
 * - `answer`: the answer was not what a message bus sends.
 */
export type ErrorCode = 'callback' | 'request' | 'refused' | 'answer';

/** What an `error` event carries. The client goes on after every one of them. */
export class MessageBusError extends Error {
  override readonly name: string = 'MessageBusError';
  declare readonly code: ErrorCode;
  /** The HTTP status, with the code `refused`. */
  declare readonly status?: number;
  /** How many milliseconds the server has asked to wait. */
  declare readonly retryAfter?: number | undefined;

  constructor(code: ErrorCode, message: string, details: { status?: number; retryAfter?: number | undefined; cause?: unknown } = {}) {
    super(message, details);
    Object.assign(this, { code }, details);
  }
}
