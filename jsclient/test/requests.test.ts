import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, collect, errorsOf } from './harness.ts';

test('the first request names all channels of the tick in order, then its number', async (t) => {
  const b = bench(t, { baseUrl: '/forum/' });
  collect(b, '/b', 7);
  b.client.start();
  collect(b, '/a');
  collect(b, '/c', { last: 3 });
  await b.pass(0);
  assert.equal(b.calls.length, 1);
  const { url, init, fields } = b.last();
  assert.equal(url, '/forum/message-bus/c1/poll');
  assert.deepEqual(fields, [['/b', '7'], ['/a', '-1'], ['/c', '-4'], ['__seq', '1']]);
  assert.equal(init.method, 'POST');
  assert.equal(init.credentials, 'same-origin');
  assert.deepEqual(init.headers, {
    'X-SILENCE-LOGGER': 'true',
  });
});

test('a client without subscriptions sends nothing', async (t) => {
  const b = bench(t);
  b.client.start();
  await b.pass(60_000);
  assert.equal(b.calls.length, 0);
  const end = b.listen('/a', () => {});
  await b.pass(0);
  assert.equal(b.calls.length, 1);
  end();
  await b.pass(60_000);
  assert.equal(b.calls.length, 1);
  assert.ok(b.last().aborted);
});

test('many changes in one tick restart the request once, and at once', async (t) => {
  const b = bench(t);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part();
  await b.pass(5_000);
  const ends = ['/b', '/c', '/d'].map((channel) => b.listen(channel, () => {}, { from: 0 }));
  ends[1]?.();
  assert.equal(b.client.unsubscribe('/a'), true);
  await b.pass(0);
  assert.equal(b.calls.length, 2);
  assert.ok(b.calls[0]?.aborted);
  assert.deepEqual(b.last().fields, [['/b', '0'], ['/d', '0'], ['__seq', '2']]);
});

test('changes in many ticks send no more than one request in 100 ms', async (t) => {
  const b = bench(t);
  b.client.start();
  for (let change = 0; change < 200; change++) {
    b.listen(`/${change}`, () => {}, { from: 0 });
    await b.pass(10);
  }
  assert.ok(b.calls.length <= 21, `${b.calls.length} requests in 2 s`);
});

test('an answer of JSON is read whole, and held requests follow each other closely', async (t) => {
  const b = bench(t, { transport: 'poll' });
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  assert.equal(b.last().init.headers['Dont-Chunk'], 'true');
  b.last().json({ channel: '/a', id: 1 });
  await b.pass(100);
  await b.pass(25_000);
  b.last().json();
  await b.pass(100);
  assert.equal(b.calls.length, 3);
  assert.deepEqual(ids, [1]);
  assert.deepEqual(b.last().fields[0], ['/a', '1']);
});

test('a server that answers a stream by JSON is understood', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  assert.ok(b.last().streamed);
  b.last().json({ channel: '/a', id: 1 });
  await b.pass(0);
  assert.deepEqual(ids, [1]);
});

test('headers may come from a function, and its failure is a failed request', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  let token = 0;
  const b = bench(t, {
    credentials: 'include',
    headers: async () => {
      token += 1;
      if (token === 2) throw new Error('no token');
      return { Authorization: `t${token}` };
    },
  });
  const errors = errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  assert.equal(b.last().init.headers['Authorization'], 't1');
  assert.equal(b.last().init.credentials, 'include');
  b.last().fail();
  await b.pass(500);
  assert.equal(b.calls.length, 1);
  assert.match(String(errors[1]?.cause), /no token/);
  await b.pass(1_000);
  assert.equal(b.last().init.headers['Authorization'], 't3');
});

test('stop ends the request and every callback, and start goes on from the positions', async (t) => {
  const b = bench(t);
  const ids: number[] = [];
  b.listen('/a', (_data, { id }) => {
    ids.push(id);
    if (id === 2) b.client.stop();
  }, { from: 0 });
  b.client.start();
  await b.pass(0);
  const first = b.last();
  first.part(...[1, 2, 3].map((id) => ({ channel: '/a', id })));
  await b.pass(60_000);
  assert.deepEqual(ids, [1, 2]);
  assert.ok(first.aborted);
  assert.equal(b.calls.length, 1);
  assert.equal(b.client.status, 'stopped');
  b.client.start();
  await b.pass(0);
  assert.deepEqual(b.last().fields, [['/a', '2'], ['__seq', '2']]);
});
