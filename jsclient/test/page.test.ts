import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { bench } from './harness.ts';

/** A document and a window with no more than what a client looks at. */
class FakePage extends EventTarget {
  hidden = false;
  readonly listeners: string[] = [];

  override addEventListener(type: string, listener: EventListener, capture?: boolean): void {
    this.listeners.push(type);
    super.addEventListener(type, listener, capture);
  }

  override removeEventListener(type: string, listener: EventListener, capture?: boolean): void {
    this.listeners.splice(this.listeners.indexOf(type), 1);
    super.removeEventListener(type, listener, capture);
  }

  turn(hidden: boolean): void {
    this.hidden = hidden;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

function showPage(): FakePage {
  const page = new FakePage();
  const globals: Record<string, unknown> = globalThis as never;
  globals['document'] = page;
  globals['window'] = page;
  return page;
}

test('a hidden page polls every 60 s without being held, and at once when it shows', async (t) => {
  const page = showPage();
  page.hidden = true;
  const b = bench(t, {}, (call) => call.url.endsWith('?dlp=t') && call.json());
  b.listen('/a', () => {}, { from: 0 });
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

test('a page that shows while it still waits for what it has asked hidden asks anew, and is held', async (t) => {
  const page = showPage();
  page.hidden = true;
  const b = bench(t);
  b.listen('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(1_000);
  page.turn(false);
  await b.pass(0);
  assert.equal(b.calls.length, 2);
  assert.ok(b.calls[0]?.aborted);
  assert.ok(b.last().streamed);
});

test('a page that is hidden while a request is held lets it end', async (t) => {
  const page = showPage();
  const b = bench(t);
  b.listen('/a', () => {}, { from: 0 });
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
  const page = showPage();
  const b = bench(t, {}, (call) => (call.at < 40_000 ? call.fail() : call.refuse(429, { 'Retry-After': '30' })));
  b.client.on('error', () => {});
  b.listen('/a', () => {}, { from: 0 });
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
  const page = showPage();
  const b = bench(t, {}, (call) => call.json());
  b.listen('/a', () => {}, { from: 0 });
  b.client.start();
  for (let flicker = 0; flicker < 100; flicker++) {
    page.turn(flicker % 2 === 0);
    await b.pass(10);
  }
  assert.ok(b.calls.length <= 11, `${b.calls.length} requests in 1 s`);
});

test('a stopped client leaves nothing on the page', async (t) => {
  const page = showPage();
  const b = bench(t);
  b.client.start();
  b.client.start();
  assert.deepEqual(page.listeners, ['visibilitychange', 'freeze', 'resume', 'online', 'pagehide', 'pageshow']);
  b.client.stop();
  assert.deepEqual(page.listeners, []);
});

test('a page that is frozen or kept in memory asks nothing, and at once when it is back', async (t) => {
  for (const [leave, back] of [['freeze', 'resume'], ['pagehide', 'pageshow']] as const) {
    const page = showPage();
    const b = bench(t);
    const states: string[] = [];
    b.client.on('status', (status) => states.push(status));
    b.listen('/a', () => {}, { from: 0 });
    b.client.start();
    await b.pass(0);
    b.last().part({ channel: '/a', id: 1 });
    await b.pass(1_000);
    page.dispatchEvent(new Event(leave));
    assert.ok(b.last().aborted);
    b.listen('/b', () => {}, { from: 0 });
    page.dispatchEvent(new Event('online'));
    await b.pass(600_000);
    assert.equal(b.calls.length, 1);
    page.dispatchEvent(Object.assign(new Event(back), { persisted: true }));
    await b.pass(100);
    assert.deepEqual(b.last().fields.slice(0, 2), [['/a', '1'], ['/b', '0']]);
    b.last().part();
    await b.pass(0);
    assert.deepEqual(states, ['connecting', 'connected', 'away', 'connecting', 'connected']);
    b.client.stop();
    mock.timers.reset();
  }
});

test('a machine that has slept asks anew within a second, and a clock that was put back changes nothing', async (t) => {
  showPage();
  const b = bench(t);
  const now = Date.now;
  let put = 0;
  Date.now = () => now() + put;
  b.listen('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(0);
  b.last().part();
  await b.pass(5_000);
  put = -3_600_000;
  await b.pass(2_000);
  assert.equal(b.calls.length, 1);
  put = 0;
  await b.pass(1_000);
  assert.equal(b.calls.length, 2);
  assert.ok(b.calls[0]?.aborted);
});

test('a request that was silent while the page was hidden is made anew when it shows', async (t) => {
  const page = showPage();
  const b = bench(t);
  b.listen('/a', () => {}, { from: 0 });
  b.client.start();
  await b.pass(0);
  b.last().part();
  page.turn(true);
  await b.pass(40_000);
  page.turn(false);
  await b.pass(100);
  assert.equal(b.calls.length, 2);
});
