import { test } from 'node:test';
import { expectTypeOf } from 'expect-type';
import { createClient, type Client, type Events, type Gap, type Message, type MessageBusError, type SavedPosition, type Status } from '../src/index.ts';

// Checked by the compiler; nothing here runs.
function types(client: Client): void {
  expectTypeOf(createClient).returns.toEqualTypeOf<Client>();
  expectTypeOf(client.subscribe<{ text: string }>).parameter(0).toEqualTypeOf<string>();
  client.subscribe<{ text: string }>('/a', { from: { last: 3 } }, (message) => expectTypeOf(message).toEqualTypeOf<Message<{ text: string }>>());
  client.subscribe('/a', (message) => expectTypeOf(message.data).toEqualTypeOf<unknown>());
  expectTypeOf(client.messages<number>('/a')).toEqualTypeOf<AsyncIterableIterator<Message<number>>>();
  expectTypeOf(client.positions()).toEqualTypeOf<Record<string, SavedPosition>>();
  createClient({ positions: client.positions(), headers: async () => ({ Authorization: 'x' }), transport: 'sse' });
  client.on('status', (status) => expectTypeOf(status).toEqualTypeOf<Status>());
  client.on('gap', (gap) => expectTypeOf(gap).toEqualTypeOf<Gap>());
  client.on('error', (error) => expectTypeOf(error).toEqualTypeOf<MessageBusError>());
  client.on('refused', (channels) => expectTypeOf(channels).toEqualTypeOf<readonly string[]>());
  expectTypeOf<keyof Events>().toEqualTypeOf<'status' | 'error' | 'gap' | 'refused'>();
  // @ts-expect-error there is no such event
  client.on('message', () => {});
  // @ts-expect-error a position is whole, or names what it is
  client.subscribe('/a', { from: 'oldest' }, () => {});
  // @ts-expect-error there is no such transport
  createClient({ transport: 'carrier pigeon' });
  // @ts-expect-error what is handed out is not to be changed
  client.subscribe('/a', (message) => { message.id = 5; });
}

test('the types are what the compiler checks them to be', () => {
  void types;
});
