import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Gap } from '../src/index.ts';
import { bench, collect, errorsOf, status, type Sent } from './harness.ts';

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
  assert.match(errors[0]?.message ?? '', /no gap of \/a: {"after":"x"}/);
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

const failover = (after: number): Sent => ({
  channel: '/__gap',
  id: -1,
  globalId: -1,
  data: { '/a': { after, next: after + 1, reason: 'failover', epoch: 'e~2' } },
});

test('after a failover, a subscription that is further on gets what has ids that were given again', async (t) => {
  const b = bench(t);
  const gaps: Gap[] = [];
  b.client.on('gap', (gap) => gaps.push(gap));
  const behind = collect(b, '/a', { id: 2, globalId: 20, epoch: 'e~1' });
  const further = collect(b, '/a', { id: 4, globalId: 40, epoch: 'e~1' });
  await b.pass(0);
  assert.deepEqual(b.last().fields[0], ['/a', '2']);
  b.last().part();
  b.last().part(failover(2));
  b.last().part({ channel: '/a', id: 3 });
  b.last().part({ channel: '/a', id: 4 });
  await b.pass(0);
  assert.deepEqual([behind, further], [[3, 4], [3, 4]]);
  assert.deepEqual(gaps, [{ channel: '/a', after: 2, next: 3, reason: 'failover' }]);
  assert.deepEqual(b.client.positions(), { '/a': { id: 4, globalId: 40, epoch: 'e~2' } });
});

test('after a failover, a subscription that the answer has caught up with goes on from where it was', async (t) => {
  const b = bench(t);
  const behind = collect(b, '/a', { id: 2, globalId: 20, epoch: 'e~1' });
  const further = collect(b, '/a', { id: 4, globalId: 40, epoch: 'e~1' });
  await b.pass(0);
  b.last().part({ channel: '/a', id: 3 }, { channel: '/a', id: 4 });
  b.last().part(failover(4));
  await b.pass(0);
  assert.deepEqual(b.client.positions(), { '/a': { id: 4, globalId: 40, epoch: 'e~2' } });
  b.last().part({ channel: '/a', id: 4 }, { channel: '/a', id: 5 });
  await b.pass(0);
  assert.deepEqual([behind, further], [[3, 4, 5], [5]]);
  assert.equal(b.calls.length, 1);
});
