import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createClient, MessageBusError, type Gap, type Message } from '../src/index.ts';
import { bench, settle, status, type Bench } from './harness.ts';

function collect(b: Bench, channel: string, from?: number | 'latest' | { last: number }): number[] {
  const ids: number[] = [];
  b.listen(channel, (_data, { id }) => ids.push(id), from === undefined ? {} : { from });
  return ids;
}

function errorsOf(b: Bench): MessageBusError[] {
  const errors: MessageBusError[] = [];
  b.client.on('error', (error) => errors.push(error));
  return errors;
}

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
    'Content-Type': 'application/x-www-form-urlencoded',
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

test('a callback that throws is reported, and stops nothing else', async (t) => {
  const b = bench(t);
  const thrown = new Error('mine');
  b.listen('/a', () => {
    throw thrown;
  }, { from: 0 });
  const ids = collect(b, '/a', 0);
  const errors = errorsOf(b);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 }, { channel: '/a', id: 2 });
  b.last().end();
  await b.pass(100);
  assert.deepEqual(ids, [1, 2]);
  assert.deepEqual(errors.map(({ code, cause }) => [code, cause]), [['callback', thrown], ['callback', thrown]]);
  assert.match(errors[0]?.message ?? '', /a callback of \/a threw Error: mine/);
  assert.deepEqual(b.last().fields[0], ['/a', '2']);
});

test('an error goes to the console where nobody listens, and so does what an error listener throws', async (t) => {
  const log = t.mock.method(console, 'error', () => {});
  const b = bench(t);
  b.listen('/a', () => {
    throw new Error('mine');
  }, { from: 0 });
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 1 });
  await b.pass(0);
  assert.equal(log.mock.callCount(), 1);
  b.client.on('error', () => {
    throw new Error('again');
  });
  b.last().part({ channel: '/a', id: 2 });
  await b.pass(0);
  assert.equal(log.mock.callCount(), 2);
  assert.match(String(log.mock.calls[1]?.arguments[0]), /again/);
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

test('without long polling a request goes out every 15 s', async (t) => {
  const b = bench(t, { longPolling: false }, (call) => call.json());
  collect(b, '/a', 0);
  b.client.start();
  await b.pass(60_000);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 15_000, 30_000, 45_000, 60_000]);
  assert.equal(b.last().url, '/message-bus/c1/poll?dlp=t');
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
  assert.match(errors[0]?.message ?? '', /nothing was heard for 90000 ms/);
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
    const b = bench(t, { maxPartLength: 100, transport: streaming ? 'auto' : 'poll' });
    const errors = errorsOf(b);
    collect(b, '/a', 0);
    b.client.start();
    await b.pass(0);
    if (streaming) b.last().raw('x'.repeat(105));
    else b.last().text('x'.repeat(105), 'application/json');
    await b.pass(0);
    assert.deepEqual(errors.map(({ code }) => code), ['answer']);
    assert.match(errors[0]?.message ?? '', /longer than maxPartLength, 100 characters/);
    assert.ok(b.last().aborted);
    b.client.stop();
    mock.timers.reset();
  }
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
  assert.match(errors[1]?.message ?? '', /no token/);
  await b.pass(1_000);
  assert.equal(b.last().init.headers['Authorization'], 't3');
});

test('a gap that the server reports is an event, and a reset goes on with the new ids', async (t) => {
  const b = bench(t);
  const gaps: Gap[] = [];
  b.client.on('gap', (gap) => gaps.push(gap));
  const ids = collect(b, '/a', 79);
  const same = collect(b, '/a', 79);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 80, globalId: 900 });
  const trimmed = { after: 80, next: 90, reason: 'trimmed' };
  b.last().part({ channel: '/__gap', id: -1, globalId: -1, data: { '/a': trimmed } }, { channel: '/a', id: 90, globalId: 950 });
  const reset = { after: 90, next: 1, reason: 'reset' };
  b.last().part({ channel: '/__gap', id: -1, globalId: -1, data: { '/a': reset } }, { channel: '/a', id: 1, globalId: 1 });
  await b.pass(0);
  assert.deepEqual(gaps, [{ channel: '/a', ...trimmed }, { channel: '/a', ...reset }]);
  assert.deepEqual(ids, [80, 90, 1]);
  assert.deepEqual(same, ids);
});

test('a gap that makes no sense is an error, and the messages behind it are taken', async (t) => {
  const b = bench(t);
  const errors = errorsOf(b);
  const ids = collect(b, '/a', 0);
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/__gap', id: -1, globalId: -1, data: { '/a': { after: 'x' } } }, { channel: '/a', id: 1 });
  await b.pass(0);
  assert.match(errors[0]?.message ?? '', /a gap of \/a as {"after":"x"}/);
  assert.deepEqual(ids, [1]);
});

test('ids that go back are told once for all subscriptions of the channel', async (t) => {
  const b = bench(t);
  const gaps: Gap[] = [];
  b.client.on('gap', (gap) => gaps.push(gap));
  for (let subscription = 0; subscription < 3; subscription++) collect(b, '/a', 80);
  b.client.start();
  await b.pass(0);
  b.last().part(status({ '/a': 3 }));
  await b.pass(0);
  assert.deepEqual(gaps, [{ channel: '/a', after: 80, next: 4, reason: 'reset' }]);
});

test('ids that start again in messages are told once too, before the message', async (t) => {
  const b = bench(t);
  const seen: string[] = [];
  b.client.on('gap', ({ after, next }) => seen.push(`gap ${after} ${next}`));
  for (const name of ['x', 'y']) b.listen('/a', (_data, { id }) => seen.push(`${name} ${id}`), { from: 80 });
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 81, globalId: 900 }, { channel: '/a', id: 1, globalId: 901 });
  await b.pass(0);
  assert.deepEqual(seen, ['x 81', 'y 81', 'gap 81 1', 'x 1', 'y 1']);
});

test('a listener that stops the client at a gap is obeyed before the message behind it', async (t) => {
  const b = bench(t);
  const ids = collect(b, '/a', 80);
  b.client.on('gap', () => b.client.stop());
  b.client.start();
  await b.pass(0);
  b.last().part({ channel: '/a', id: 81, globalId: 900 }, { channel: '/a', id: 1, globalId: 901 });
  await b.pass(0);
  assert.deepEqual(ids, [81]);
  assert.equal(b.client.status, 'stopped');
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

test('subscribe and createClient name what they refuse', () => {
  const client = createClient({ clientId: 'c1' });
  assert.throws(() => client.subscribe('', () => {}), /^TypeError: channel is ""; it must be/);
  assert.throws(() => client.subscribe('__seq', () => {}), /^TypeError: channel is "__seq"/);
  assert.throws(() => client.on('gone' as 'gap', () => {}), /^TypeError: event is "gone"/);
  assert.throws(() => createClient({ baseUrl: '/forum' }), /^TypeError: baseUrl is "\/forum"; it must end in a slash/);
  assert.throws(() => createClient({ clientId: 'a/b' }), /^TypeError: clientId is "a\/b"/);
  assert.throws(() => createClient({ maxPartLength: 0 }), /^TypeError: maxPartLength is 0/);
  assert.throws(() => createClient({ timing: { callbackInterval: 2 ** 31 } }), /^TypeError: timing.callbackInterval is 2147483648/);
  assert.throws(() => createClient({ timing: { minPollInterval: 0 } }), /^TypeError: timing.minPollInterval is 0/);
});

test('every client has an id of its own, shaped as the gem makes them', () => {
  const ids = Array.from({ length: 50 }, () => createClient().clientId);
  assert.equal(new Set(ids).size, 50);
  for (const id of ids) assert.match(id, /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
});

test('on returns a function that removes its listener only', async (t) => {
  const b = bench(t);
  const seen: string[] = [];
  const listener = (value: string): void => void seen.push(value);
  const remove = b.client.on('status', listener);
  b.client.on('status', listener);
  remove();
  remove();
  b.client.start();
  await settle();
  assert.deepEqual(seen, ['connecting']);
});
