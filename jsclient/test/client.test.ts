import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type MessageBusError } from '../src/index.ts';
import { bench, collect, errorsOf, settle } from './harness.ts';

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
  assert.match(errors[0]?.message ?? '', /a callback of \/a threw/);
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
  const [error] = log.mock.calls[1]?.arguments as [MessageBusError];
  assert.match(String(error.cause), /again/);
});

test('subscribe and createClient name what they refuse', () => {
  const client = createClient({ clientId: 'c1' });
  assert.throws(() => client.subscribe('', () => {}), /^TypeError: channel is ""; it must be/);
  assert.throws(() => client.subscribe('__seq', () => {}), /^TypeError: channel is "__seq"/);
  assert.throws(() => client.on('gone' as 'gap', () => {}), /^TypeError: event is "gone"/);
  assert.throws(() => createClient({ baseUrl: '/forum' }), /^TypeError: baseUrl is "\/forum"; it must be a URL ending in \//);
  assert.throws(() => createClient({ clientId: 'a/b' }), /^TypeError: clientId is "a\/b"/);
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
