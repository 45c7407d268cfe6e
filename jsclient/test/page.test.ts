import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { bench } from './harness.ts';

/** A document and a window with no more than what a client looks at. */
class FakePage extends EventTarget {
  hidden = false;
  readonly listeners: string[] = [];

  override addEventListener(type: string, listener: EventListener): void {
    this.listeners.push(type);
    super.addEventListener(type, listener);
  }

  override removeEventListener(type: string, listener: EventListener): void {
    this.listeners.splice(this.listeners.indexOf(type), 1);
    super.removeEventListener(type, listener);
  }

  turn(hidden: boolean): void {
    this.hidden = hidden;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

function showPage(t: TestContext): FakePage {
  const page = new FakePage();
  const globals: Record<string, unknown> = globalThis as never;
  globals['document'] = page;
  globals['window'] = page;
  t.after(() => {
    delete globals['document'];
    delete globals['window'];
  });
  return page;
}

test('a hidden page polls every 60 s without being held, and at once when it shows', async (t) => {
  const page = showPage(t);
  page.hidden = true;
  const b = bench(t, {}, (call) => call.url.endsWith('?dlp=t') && call.json());
  b.client.subscribe('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(90_000);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 60_000]);
  assert.equal(b.last().streamed, false);
  page.turn(true);
  assert.equal(b.calls.length, 2);
  page.turn(false);
  await b.pass(0);
  assert.deepEqual(b.calls.map(({ at }) => at), [0, 60_000, 90_000]);
  assert.ok(b.last().streamed);
});

test('a page that is hidden while a request is held lets it end', async (t) => {
  const page = showPage(t);
  const b = bench(t);
  b.client.subscribe('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(0);
  b.last().part();
  page.turn(true);
  page.turn(false);
  await b.pass(1_000);
  assert.equal(b.calls.length, 1);
  assert.equal(b.last().aborted, false);
});

test('a page that shows, or a network that is back, cuts a wait after failures short, but not one the server asked for', async (t) => {
  t.mock.method(Math, 'random', () => 0.9);
  const page = showPage(t);
  const b = bench(t, {}, (call) => (call.at < 40_000 ? call.fail() : call.refuse(429, { 'Retry-After': '30' })));
  b.client.on('error', () => {});
  b.client.subscribe('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(39_000);
  const before = b.calls.length;
  page.dispatchEvent(new Event('online'));
  await b.pass(0);
  assert.equal(b.calls.length, before + 1);
  await b.pass(1_000);
  page.turn(false);
  await b.pass(0);
  assert.equal(b.calls.length, before + 2);
  page.turn(false);
  page.dispatchEvent(new Event('online'));
  await b.pass(29_000);
  assert.equal(b.calls.length, before + 2);
});

test('a page that flickers causes no more than one request in 100 ms', async (t) => {
  const page = showPage(t);
  const b = bench(t, { longPolling: false }, (call) => call.json());
  b.client.subscribe('/a', () => {}, { from: 0 });
  b.client.start();
  for (let flicker = 0; flicker < 100; flicker++) {
    page.turn(flicker % 2 === 0);
    await b.pass(10);
  }
  assert.ok(b.calls.length <= 11, `${b.calls.length} requests in 1 s`);
});

test('a stopped client leaves nothing on the page', async (t) => {
  const page = showPage(t);
  const b = bench(t);
  b.client.start();
  b.client.start();
  assert.deepEqual(page.listeners, ['visibilitychange', 'online']);
  b.client.stop();
  assert.deepEqual(page.listeners, []);
});
