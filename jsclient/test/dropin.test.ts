import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import type { MessageBus } from '../src/dropin/message-bus.ts';
import { settle } from './harness.ts';

/** An XMLHttpRequest that a test answers. */
class FakeXhr {
  static all: FakeXhr[] = [];
  static answer: (xhr: FakeXhr) => void = () => {};
  onprogress: (() => void) | null = null;
  onreadystatechange: (() => void) | null = null;
  readyState = 0;
  status = 0;
  statusText = '';
  responseText = '';
  body = '';
  url = '';
  headers: Record<string, string> = {};
  type = 'text/plain';

  open(_method: string, url: string): void {
    this.url = url;
  }

  setRequestHeader(name: string, value: string): void {
    this.headers[name] = value;
  }

  getResponseHeader(name: string): string | null {
    return name === 'Content-Type' ? this.type : null;
  }

  send(body: string): void {
    this.body = body;
    FakeXhr.all.push(this);
    queueMicrotask(() => FakeXhr.answer(this));
  }

  piece(text: string): void {
    this.responseText += text;
    this.onprogress?.();
  }

  end(status: number, text = ''): void {
    if (this.readyState === 4) return;
    if (text !== '') this.piece(text);
    this.readyState = 4;
    this.status = status;
    this.onreadystatechange?.();
  }

  abort(): void {
    this.end(0);
  }
}

const page = Object.assign(new EventTarget(), { hidden: false });
Object.assign(globalThis, { document: page, window: page, XMLHttpRequest: FakeXhr });
const { createMessageBus } = await import('../src/dropin/message-bus.ts');

function start(t: TestContext, answer: (xhr: FakeXhr) => void): MessageBus {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  t.mock.method(console, 'log', () => {});
  t.mock.method(Math, 'random', () => 0.5);
  FakeXhr.all = [];
  FakeXhr.answer = answer;
  const bus = createMessageBus(false, () => {});
  t.after(() => {
    bus.stop();
    mock.timers.reset();
  });
  return bus;
}

async function pass(milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= 50) {
    mock.timers.tick(50);
    await settle();
  }
}

const separator = '\r\n|\r\n';
const badServers: Record<string, (xhr: FakeXhr) => void> = {
  'an HTML page': (xhr) => xhr.end(200, '<html>log in</html>'),
  'an HTML page that says it is JSON': (xhr) => {
    xhr.type = 'application/json; charset=utf-8';
    xhr.end(200, '<html>');
  },
  'a part that is no JSON': (xhr) => xhr.end(200, `garbage${separator}`),
  'a part that is no array of messages': (xhr) => xhr.end(200, `[{"channel":5}]${separator}`),
  'a good part, then garbage': (xhr) => xhr.end(200, `[]${separator}garbage${separator}`),
  'nothing, as to a page of another origin': (xhr) => xhr.end(0),
  '401': (xhr) => xhr.end(401, 'no'),
  '403': (xhr) => xhr.end(403, 'no'),
  '500': (xhr) => xhr.end(500, 'no'),
  '502 with a page': (xhr) => xhr.end(502, '<html>'),
};

for (const [name, answer] of Object.entries(badServers)) {
  for (const chunked of [true, false]) {
    test(`drop-in: a server that answers ${name} gets at most five requests in a minute (${chunked ? 'in parts' : 'whole'})`, async (t) => {
      const bus = start(t, answer);
      bus.enableChunkedEncoding = chunked;
      bus.subscribe('/a', () => {}, 0);
      await pass(60_000);
      const count = FakeXhr.all.length;
      assert.ok(count >= 2 && count <= 5, `${count} requests`);
    });
  }
}

test('drop-in: 429 without a time is one request every 15 s, and no failure', async (t) => {
  const bus = start(t, (xhr) => xhr.end(429, 'slower'));
  bus.subscribe('/a', () => {}, 0);
  await pass(61_000);
  assert.equal(FakeXhr.all.length, 5);
});

test('drop-in: a failed part is asked for again from where it began, and what a callback throws stops nothing', async (t) => {
  const errors: unknown[] = [];
  const got: number[] = [];
  const part = (id: number): string => `[{"global_id":${id},"message_id":${id},"channel":"/a","data":${id}}]${separator}`;
  const bus = start(t, (xhr) => (FakeXhr.all.length === 1 ? xhr.end(200, `${part(1)}garbage${separator}${part(3)}`) : xhr.piece(part(2) + part(3))));
  bus.onError = (error) => errors.push(error);
  bus.subscribe('/a', () => { throw new Error('on purpose'); }, 0);
  bus.subscribe('/a', (data) => got.push(data as number), 0);
  await pass(20_000);
  assert.deepEqual(got, [1, 2, 3]);
  assert.match(FakeXhr.all[1]?.body ?? '', /^%2Fa=1&/);
  assert.equal(errors.length, 4);
});

test('drop-in: subscriptions of one channel at different positions get what each lacks', async (t) => {
  const got: Record<string, number[]> = { first: [], second: [] };
  const part = (...ids: number[]): string => JSON.stringify(ids.map((id) => ({ global_id: id, message_id: id, channel: '/a', data: id }))) + separator;
  const bus = start(t, (xhr) => xhr.piece(FakeXhr.all.length === 1 ? part(6, 7) : part(3, 4, 5, 6, 7, 8)));
  bus.subscribe('/a', (data) => got['first']?.push(data as number), 5);
  await pass(2_000);
  bus.subscribe('/a', (data) => got['second']?.push(data as number), 2);
  await pass(2_000);
  assert.deepEqual(got, { first: [6, 7, 8], second: [3, 4, 5, 6, 7, 8] });
});

test('drop-in: after a failover, a subscription that is further on gets what has ids that were given again', async (t) => {
  const got: Record<string, string[]> = { further: [], behind: [] };
  const part = (server: string, ...ids: number[]): string =>
    JSON.stringify(ids.map((id) => ({ global_id: id, message_id: id, channel: '/a', data: `${server}${id}` }))) + separator;
  const data = { '/a': { after: 2, next: 3, reason: 'failover', epoch: 'e~2' } };
  const gap = JSON.stringify([{ global_id: -1, message_id: -1, channel: '/__gap', data }]) + separator;
  const bus = start(t, (xhr) => xhr.piece(FakeXhr.all.length === 1 ? part('old ', 3, 4) : `[]${separator}${gap}${part('new ', 3, 4)}`));
  bus.subscribe('/a', (message) => got['further']?.push(message as string), 2);
  await pass(2_000);
  bus.subscribe('/a', (message) => got['behind']?.push(message as string), 2);
  await pass(2_000);
  assert.deepEqual(got, { further: ['old 3', 'old 4', 'new 3', 'new 4'], behind: ['new 3', 'new 4'] });
});

test('drop-in: a page that is kept in memory asks nothing, and at once when it is back', async (t) => {
  const bus = start(t, (xhr) => xhr.piece(`[]${separator}`));
  bus.subscribe('/a', () => {}, 0);
  await pass(1_000);
  page.dispatchEvent(new Event('freeze'));
  await pass(300_000);
  assert.equal(FakeXhr.all.length, 1);
  assert.equal(FakeXhr.all[0]?.readyState, 4);
  page.dispatchEvent(new Event('resume'));
  await pass(100);
  assert.equal(FakeXhr.all.length, 2);
});
