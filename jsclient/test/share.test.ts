import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '../src/index.ts';
import { bench, collect } from './harness.ts';

/** Gives what is said to all other channels, in order. */
class FakeChannel {
  static readonly all = new Set<FakeChannel>();
  onmessage: ((event: { data: unknown }) => void) | undefined;

  constructor() {
    FakeChannel.all.add(this);
  }

  postMessage(said: unknown): void {
    const data = structuredClone(said);
    for (const other of FakeChannel.all) {
      if (other !== this) queueMicrotask(() => FakeChannel.all.has(other) && other.onmessage?.({ data }));
    }
  }

  close(): void {
    FakeChannel.all.delete(this);
  }
}

/** One lock, which the first who asks holds for good. */
function oneLock(): object {
  let held = false;
  return {
    request: async (_name: string, _options: object, lead: () => Promise<void>): Promise<void> => {
      if (held) return new Promise(() => {});
      held = true;
      return lead();
    },
  };
}

/** Has the process be a browser in which every client is a page of its own. */
function showPages(): void {
  const page = new EventTarget();
  const fakes = {
    document: Object.assign(page, { hidden: false }),
    window: page,
    location: { href: 'http://localhost/' },
    navigator: { locks: oneLock() },
    BroadcastChannel: FakeChannel,
    addEventListener: () => {},
    removeEventListener: () => {},
  };
  // Some are there in newer versions of Node, and cannot be assigned to.
  for (const [name, value] of Object.entries(fakes)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

test('each page of a group gets its own messages, even where Math.random gives all of them the same', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  showPages();
  const b = bench(t, { share: true });
  const first = collect(b, '/a', 0);
  await b.pass(1_000);
  const beside = createClient({ share: true, fetch: () => assert.fail('the page beside has asked by itself') });
  const second: number[] = [];
  // Each time it asks the group anew.
  for (const channel of ['/b', '/c', '/d', '/e']) {
    beside.subscribe(channel, { from: 0 }, ({ id }) => second.push(id));
    await b.pass(200);
  }
  b.last().part({ channel: '/a', id: 1 }, { channel: '/b', id: 1 });
  await b.pass(200);
  assert.deepEqual([first, second], [[1], [1]]);
  beside.stop();
  await b.pass(200);
  b.last().part({ channel: '/a', id: 2 });
  await b.pass(200);
  assert.deepEqual(first, [1, 2]);
});

test('after a failover, a page that is further on than another gets what has ids that were given again', async (t) => {
  showPages();
  const b = bench(t, { share: true });
  const behind = collect(b, '/a', { id: 2, globalId: 20, epoch: 'e~1' });
  await b.pass(1_000);
  const beside = createClient({ share: true, fetch: () => assert.fail('the page beside has asked by itself') });
  t.after(() => beside.stop());
  const further: number[] = [];
  const gaps: number[] = [];
  beside.on('gap', ({ after }) => gaps.push(after));
  beside.subscribe('/a', { from: { id: 4, globalId: 40, epoch: 'e~1' } }, ({ id }) => further.push(id));
  await b.pass(200);
  b.last().part();
  const gap = { after: 2, next: 3, reason: 'failover', epoch: 'e~2' };
  b.last().part({ channel: '/__gap', id: -1, globalId: -1, data: { '/a': gap } });
  b.last().part({ channel: '/a', id: 3 });
  b.last().part({ channel: '/a', id: 4 });
  await b.pass(200);
  assert.deepEqual([behind, further, gaps], [[3, 4], [3, 4], [2]]);
  assert.deepEqual(beside.positions(), { '/a': { id: 4, globalId: 40, epoch: 'e~2' } });
});
