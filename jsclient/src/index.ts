export { createClient } from './client.ts';
export { MessageBusError, type ErrorCode } from './errors.ts';
export type {
  Callback,
  Client,
  ClientOptions,
  Events,
  FetchInit,
  FetchLike,
  FetchResponse,
  From,
  Gap,
  HeadersSource,
  Message,
  Status,
  Timing,
} from './types.ts';
