import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, collect, errorsOf, status } from './harness.ts';

test('a status moves positions, and a channel from the latest goes on from it', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a');
  b.client.start();
  await b.pass(0);
  b.last().part(status({ '/a': 41, '/unknown': 3 }));
  b.last().part({ channel: '/a', id: 42 });
  b.last().end();
  await b.pass(100);
  assert.deepEqual(ids, [42]);
  assert.deepEqual(b.last().fields[0], ['/a', '42']);
});

test('messages that come again are dropped', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 }, { channel: '/a', id: 2 });
  b.last().part({ channel: '/a', id: 2 }, { channel: '/a', id: 3 });
  b.last().part({ channel: '/a', id: 1 });
  await b.pass(0);
  assert.deepEqual(ids, [1, 2, 3]);
});

test('messages of one part are handed out by global id', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1, globalId: 100 }, { channel: '/a', id: 7, globalId: 90 });
  await b.pass(0);
  assert.deepEqual(ids, [7, 1]);
});

test('a subscription at an older position gets the messages that the others have', async (t) => {
  const b = bench(t);
  const first = collect(b, '/a', 5);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 6 }, { channel: '/a', id: 7 });
  await b.pass(1_000);
  const second = collect(b, '/a', 2);
  await b.pass(0);
  assert.equal(b.calls.length, 2);
  assert.ok(b.calls[0]?.aborted);
  assert.deepEqual(b.last().fields[0], ['/a', '2']);
  b.last().part(...[3, 4, 5, 6, 7, 8].map((id) => ({ channel: '/a', id })));
  await b.pass(0);
  assert.deepEqual(first, [6, 7, 8]);
  assert.deepEqual(second, [3, 4, 5, 6, 7, 8]);
});

test('a further subscription from the latest is looked up first, and no message of the others is lost', async (t) => {
  const b = bench(t);
  const first = collect(b, '/a', 5);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 6 });
  await b.pass(1_000);
  const second = collect(b, '/a');
  await b.pass(0);
  assert.deepEqual(b.last().fields[0], ['/a', '-1']);
  assert.equal(b.last().url, '/message-bus/c1/poll?dlp=t');
  assert.equal(b.last().streamed, false);
  b.last().json(status({ '/a': 8 }));
  await b.pass(100);
  assert.deepEqual(b.last().fields[0], ['/a', '6']);
  assert.equal(b.last().url, '/message-bus/c1/poll');
  b.last().part(...[7, 8, 9].map((id) => ({ channel: '/a', id })));
  await b.pass(0);
  assert.deepEqual(first, [6, 7, 8, 9]);
  assert.deepEqual(second, [9]);
});

test('unsubscribe ends the subscriptions of a channel, or those of one callback', async (t) => {
  const b = bench(t);
  const called: string[] = [];
  const one = (): void => void called.push('one');
  const two = (): void => void called.push('two');
  for (const callback of [one, two, two]) b.client.subscribe('/a', { from: 0 }, callback);
  assert.equal(b.client.unsubscribe('/a', one), true);
  assert.equal(b.client.unsubscribe('/a', one), false);
  assert.equal(b.client.unsubscribe('/b'), false);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 });
  await b.pass(0);
  assert.deepEqual(called, ['two', 'two']);
  assert.equal(b.client.unsubscribe('/a'), true);
});

test('a callback that ends another subscription is obeyed within the same message', async (t) => {
  const b = bench(t);
  let end = (): void => {};
  b.listen('/a', () => end(), { from: 0 });
  end = b.listen('/a', () => assert.fail('it was ended'), { from: 0 });
  const errors = errorsOf(b);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 });
  await b.pass(0);
  assert.deepEqual(errors, []);
});

test('a callback that stops the client is obeyed before the parts that came with its own', async (t) => {
  const b = bench(t);
  const statuses: string[] = [];
  b.client.on('status', (value) => statuses.push(value));
  b.listen('/a', () => b.client.stop(), { from: 0 });
  b.client.start();
  await b.pass(0);
  const part = (id: number): string => `[{"global_id":${id},"message_id":${id},"channel":"/a","data":0}]\r\n|\r\n`;
  b.last().raw(part(1) + part(2));
  await b.pass(0);
  assert.deepEqual(statuses, ['connecting', 'connected', 'stopped']);
});

test('an empty tail is looked up before the next request is held', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', { last: 1 });
  b.client.start();
  await b.pass(0);
  b.last().part();
  await b.pass(25_000);
  b.last().end();
  await b.pass(100);
  assert.deepEqual(b.last().fields[0], ['/a', '-1']);
  b.last().json(status({ '/a': 0 }));
  await b.pass(100);
  assert.deepEqual(b.last().fields[0], ['/a', '-2']);
  errorsOf(b);
  b.last().part();
  await b.pass(0);
  b.last().fail();
  await b.pass(1_000);
  assert.deepEqual(b.last().fields[0], ['/a', '0']);
  b.last().part({ channel: '/a', id: 1 }, { channel: '/a', id: 2 });
  await b.pass(0);
  assert.deepEqual(ids, [1, 2]);
});

test('messages hands out one after the other, keeps what comes meanwhile, and ends by the signal or by leaving the loop', async (t) => {
  const b = bench(t);
  const controller = new AbortController();
  const iterator = b.client.messages<number>('/a', { from: 0, signal: controller.signal });
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 }, { channel: '/a', id: 2 });
  await b.pass(0);
  assert.equal((await iterator.next()).value.id, 1);
  assert.equal((await iterator.next()).value.id, 2);
  const waiting = iterator.next();
  b.last().part({ channel: '/a', id: 3 });
  await b.pass(0);
  assert.equal((await waiting).value.id, 3);
  const last = iterator.next();
  controller.abort();
  assert.equal((await last).done, true);
  assert.equal((await iterator.next()).done, true);
  assert.equal(b.client.unsubscribe('/a'), false);
});

test('positions are what another client goes on from, and a gap moves them to a new life of the store', async (t) => {
  const b = bench(t, { positions: { '/a': { id: 5, globalId: 50, epoch: 'e1' } } });
  const gaps: unknown[] = [];
  b.client.on('gap', (gap) => gaps.push(gap));
  const ids: number[] = [];
  b.listen('/a', (_data, { id }) => ids.push(id));
  b.client.start();
  await b.pass(0);
  assert.deepEqual(b.last().fields[0], ['/a', '5']);
  assert.equal(b.last().marks, '~{"e1":{"/a":50}}');
  const gap = { channel: '/__gap', id: -1, globalId: -1, data: { '/a': { after: 5, next: 1, reason: 'reset', epoch: 'e2' } } };
  b.last().part(gap, { channel: '/a', id: 1, globalId: 3 });
  await b.pass(0);
  assert.deepEqual(ids, [1]);
  assert.deepEqual(gaps, [{ channel: '/a', after: 5, next: 1, reason: 'reset' }]);
  assert.deepEqual(b.client.positions(), { '/a': { id: 1, globalId: 3, epoch: 'e2' } });
});

test('channels that the server refuses are told once', async (t) => {
  const b = bench(t, { transport: 'poll' }, (call) => call.text('[]', 'application/json', 200, { 'message-bus-refused': '%2Fstaff, %2Fa%2Cb, +17' }));
  const refused: (readonly string[])[] = [];
  b.client.on('refused', (channels) => refused.push(channels));
  b.listen('/staff', () => {});
  b.client.start();
  await b.pass(40_000);
  assert.ok(b.calls.length > 1);
  assert.deepEqual(refused, [['/staff', '/a,b']]);
});
