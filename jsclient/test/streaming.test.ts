import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../src/index.ts';
import { bench, collect, errorsOf } from './harness.ts';

test('messages of a stream arrive as they come, and the next request goes on behind them', async (t) => {
  const b = bench(t);
  const messages: Message[] = [];
  b.listen('/a', (data, message) => messages.push({ ...message, data }), { from: 3 });
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 4, globalId: 40, data: { text: 'ä' } });
  await b.pass(0);
  assert.deepEqual(messages, [{ channel: '/a', id: 4, globalId: 40, data: { text: 'ä' } }]);
  b.last().part({ channel: '/a', id: 5 }, { channel: '/other', id: 9 });
  await b.pass(25_000);
  assert.equal(messages.length, 2);
  b.last().part();
  b.last().end();
  await b.pass(50);
  assert.equal(b.calls.length, 1);
  await b.pass(50);
  assert.deepEqual(b.last().fields, [['/a', '5'], ['__seq', '2']]);
});

test('a stream may be split anywhere, inside a character as well', async (t) => {
  const b = bench(t);
  const seen: unknown[] = [];
  b.listen('/a', (data) => seen.push(data), { from: 0 });
  b.client.start();
  await b.pass(0);
  const text = '[{"global_id":1,"message_id":1,"channel":"/a","data":"€"}]\r\n|\r\n';
  for (const byte of new TextEncoder().encode(text)) b.last().bytes(Uint8Array.of(byte));
  await b.pass(0);
  assert.deepEqual(seen, ['€']);
});

test('a stream without a part in 3 s is given up for 30 requests, then tried again', async (t) => {
  const b = bench(t);
  const errors = errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(2_950);
  assert.equal(b.calls.length, 1);
  await b.pass(150);
  assert.ok(b.calls[0]?.aborted);
  for (let request = 1; request <= 30; request++) {
    assert.equal(b.calls.length, 1 + request);
    assert.equal(b.last().streamed, false);
    b.last().json({ channel: '/a', id: request });
    await b.pass(100);
  }
  assert.equal(b.calls.length, 32);
  assert.ok(b.last().streamed);
  assert.deepEqual(errors, []);
  assert.equal(b.client.status, 'connected');
});

test('a stream is not given up while its first part still comes, nor once it has come', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(2_000);
  b.last().raw('[{"global_id":1,"message_id":1,');
  await b.pass(2_000);
  b.last().raw('"channel":"/a","data":0}]');
  await b.pass(2_000);
  b.last().raw('\r\n|\r\n');
  await b.pass(20_000);
  assert.equal(b.calls.length, 1);
  assert.deepEqual(ids, [1]);
});

test('a proxy that keeps back the rest of the first part counts as well', async (t) => {
  const b = bench(t);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().raw('[{"global_id":1,');
  await b.pass(3_100);
  assert.equal(b.last().streamed, false);
});

test('a connection that has died in silence is given up', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const b = bench(t);
  const errors = errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part();
  await b.pass(89_000);
  assert.equal(b.calls.length, 1);
  await b.pass(1_500);
  assert.equal(b.calls.length, 2);
  assert.match(errors[0]?.message ?? '', /no answer for 90000 ms/);
});

test('a lost connection is made again without losing or repeating a message', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const b = bench(t);
  const statuses: string[] = [];
  b.client.on('status', (value) => statuses.push(value));
  errorsOf(b);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 });
  b.last().raw('[{"global_id":20,"message_id":2,"cha');
  await b.pass(0);
  b.last().fail();
  await b.pass(500);
  assert.deepEqual(b.last().fields[0], ['/a', '1']);
  b.last().part({ channel: '/a', id: 2 });
  await b.pass(0);
  assert.deepEqual(ids, [1, 2]);
  assert.deepEqual(statuses, ['connecting', 'connected', 'retrying', 'connected']);
});
