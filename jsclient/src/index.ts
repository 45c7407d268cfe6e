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
  MessagesOptions,
  SavedPosition,
  Status,
  SubscribeOptions,
  Timing,
  TransportName,
} from './types.ts';
