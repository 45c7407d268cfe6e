import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { longestPart } from '../src/chunks.ts';
import { bench, collect, errorsOf, type Bench } from './harness.ts';

test('changes do not cut a wait after a failure short', async (t) => {
  t.mock.method(Math, 'random', () => 0.9);
  const b = bench(t, {}, (call) => call.fail());
  errorsOf(b);
  b.client.start();
  for (let change = 0; change < 600; change++) {
    b.listen('/a', () => {}, { from: 0 });
    await b.pass(100);
  }
  assert.ok(b.calls.length <= 8, `${b.calls.length} requests in 60 s`);
});

test('a stream that is cut every ten seconds is taken up within a second, after an outage too', async (t) => {
  const b = bench(t, {}, (call) => {
    if (b.calls.length <= 8) return call.fail();
    call.part({ channel: '/a', id: b.calls.length });
    setTimeout(() => call.fail(), 10_000);
  });
  errorsOf(b);
  const got = collect(b, '/a', 0);
  b.client.start();
  while (got.length === 0) await b.pass(1_000);
  await b.pass(600_000);
  assert.ok(got.length >= 600 / 11 && got.length <= 600 / 10 + 2, `${got.length} streams in ten minutes`);
  assert.equal(got.length, b.calls.length - 8);
});

test('429 is obeyed, and neither a subscription nor the page comes before its time', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const b = bench(t, {}, (call) => call.refuse(429, { 'Retry-After': '40' }));
  const errors = errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(20_000);
  collect(b, '/b', 0);
  await b.pass(19_950);
  assert.equal(b.calls.length, 1);
  await b.pass(50);
  assert.equal(b.calls.length, 2);
  assert.deepEqual([errors[0]?.code, errors[0]?.status], ['refused', 429]);
  assert.equal(b.client.status, 'retrying');
});

test('429 without a time means 15 s, 503 without one is a failure', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const b = bench(t, {}, (call) => call.refuse(429));
  errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(60_000);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 15_000, 30_000, 45_000, 60_000]);
});

test('503 waits as long as it says', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const b = bench(t, {}, (call) => call.refuse(503, { 'Retry-After': '20' }));
  errorsOf(b);
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(45_000);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 20_000, 40_000]);
});

const badServers: Record<string, (call: Bench['calls'][number]) => void> = {
  'an HTML page': (call) => call.text('<html>log in</html>', 'text/html'),
  'an HTML page that says it is JSON': (call) => call.text('<html>', 'application/json'),
  'an empty body': (call) => call.text('', 'text/plain'),
  'a body that is cut at once': (call) => call.end(),
  'a part that is no JSON': (call) => call.whole('garbage\r\n|\r\n'),
  'a part that is no array': (call) => call.whole('{}\r\n|\r\n'),
  'an array of something else': (call) => call.whole('[1]\r\n|\r\n'),
  'JSON of something else': (call) => call.text('[{"channel":"/a"}]', 'application/json'),
  'a good part, then garbage': (call) => call.whole('[]\r\n|\r\ngarbage\r\n|\r\n'),
  'nothing but errors': (call) => call.refuse(500),
  'a lost connection': (call) => call.fail(),
};

for (const [name, answer] of Object.entries(badServers)) {
  for (const streaming of [true, false]) {
    test(`a server that answers ${name} gets few requests (${streaming ? 'streaming' : 'whole'})`, async (t) => {
      t.mock.method(Math, 'random', () => 0.5);
      const b = bench(t, { transport: streaming ? 'auto' : 'poll' }, answer);
      const errors = errorsOf(b);
      collect(b, '/a', 0);
      b.client.start();
      await b.pass(60_000);
      // Waits of 0.5, 1, 2, 4, 8, 16, 32 s.
      assert.equal(b.calls.length, 7);
      assert.equal(errors.length, 7);
      assert.ok(errors.every(({ code }) => code !== 'callback'));
      assert.equal(b.client.status, 'retrying');
    });
  }
}

test('a server that answers at once with nothing, or with the same again, gets a request every 15 s', async (t) => {
  const b = bench(t, {}, (call) => call.json({ channel: '/a', id: 1 }));
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(60_000);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 100, 15_100, 30_100, 45_100]);
});

test('a server that ends each stream after its first part gets a request every 15 s', async (t) => {
  const b = bench(t, {}, (call) => {
    call.part();
    call.end();
  });
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(60_000);
  assert.equal(b.calls.length, 5);
});

test('a server that never answers a look-up gets a request every 15 s', async (t) => {
  const b = bench(t, {}, (call) => call.json());
  collect(b, '/a', 0);
  collect(b, '/a');
  b.client.start();
  await b.pass(60_000);
  assert.equal(b.calls.length, 5);
});

test('a part over the limit is a failure', async (t) => {
  for (const streaming of [true, false]) {
    const b = bench(t, { transport: streaming ? 'auto' : 'poll' });
    const errors = errorsOf(b);
    collect(b, '/a', 0);
    b.client.start();
    await b.pass(0);
    const tooLong = 'x'.repeat(longestPart + 5);
    if (streaming) b.last().raw(tooLong);
    else b.last().text(tooLong, 'application/json');
    await b.pass(0);
    assert.deepEqual(errors.map(({ code }) => code), ['answer']);
    assert.match(errors[0]?.message ?? '', /a part is too long/);
    assert.ok(b.last().aborted);
    b.client.stop();
    mock.timers.reset();
  }
});
