import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import { createClient, type Message } from '../src/index.ts';
import { settle } from './harness.ts';

const message = (id: number): object => ({ global_id: id * 10, message_id: id, channel: '/a', data: id });

/** Imports what is loaded when it is asked for. */
async function load(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await settle();
}

test('sse: events are messages; one without an id is late; a gap is told; the next request knows the epoch', async (t) => {
  const requests: string[] = [];
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  const client = createClient({
    transport: 'sse',
    clientId: 'c1',
    headers: { Authorization: 'me' },
    timing: { minPollInterval: 1 },
    fetch: async (url, init) => {
      requests.push(`${init.method} ${decodeURIComponent(url)} ${init.headers['Authorization']}`);
      const body = new ReadableStream<Uint8Array>({ start: (controller) => void streams.push(controller) });
      init.signal.addEventListener('abort', () => { try { streams.at(-1)?.error(new Error('aborted')); } catch { /* over */ } });
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream; charset=utf-8', 'Message-Bus-Epoch': 'e1' } });
    },
  });
  t.after(() => client.stop());
  const ids: number[] = [];
  const gaps: unknown[] = [];
  client.on('gap', (gap) => gaps.push(gap));
  client.on('error', () => {});
  client.subscribe('/a', { from: 3 }, ({ id }) => ids.push(id));
  await load();
  const send = (text: string): void => {
    for (const piece of text.match(/[\s\S]{1,5}/g) ?? []) streams.at(-1)?.enqueue(new TextEncoder().encode(piece));
  };
  send(`: beat\n\nid: 50 e1\ndata: ${JSON.stringify(message(5))}\n\n`);
  send(`data: ${JSON.stringify(message(4))}\n\ndata: ${JSON.stringify(message(4))}\n\n`);
  send(`event: gap\ndata: {"global_id":-1,"message_id":-1,"channel":"/__gap","data":{"/a":{"after":5,"next":9,"reason":"trimmed","epoch":"e1"}}}\n\n`);
  send(`id: 90 e1\ndata: ${JSON.stringify(message(9))}\n\n`);
  await load();
  assert.deepEqual(ids, [5, 4, 9]);
  assert.deepEqual(gaps, [{ channel: '/a', after: 5, next: 9, reason: 'trimmed' }]);
  assert.deepEqual(client.positions(), { '/a': { id: 9, globalId: 90, epoch: 'e1' } });
  client.subscribe('/b', { from: 0 }, () => {});
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  await load();
  assert.deepEqual(requests, [
    'GET /message-bus/c1/sse?/a=3&__seq=1&__pos=~{} me',
    'GET /message-bus/c1/sse?/a=9&/b=0&__seq=2&__pos=~{"e1":{"/a":90}} me',
  ]);
});

/** A WebSocket that a test answers. */
class FakeSocket {
  static all: FakeSocket[] = [];
  sent: unknown[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly url: string;
  constructor(url: string) {
    this.url = url;
    FakeSocket.all.push(this);
    queueMicrotask(() => this.onopen?.());
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  say(...part: object[]): void {
    this.onmessage?.({ data: JSON.stringify(part) });
  }
  subscribed(channels: string[], refused: string[] = []): object {
    return { global_id: -1, message_id: -1, channel: '/__subscribed', data: { channels, refused, epoch: 'e1' } };
  }
  close(): void {}
}

function sockets(t: TestContext): void {
  FakeSocket.all = [];
  const before = globalThis.WebSocket;
  Object.assign(globalThis, { WebSocket: FakeSocket });
  t.after(() => Object.assign(globalThis, { WebSocket: before }));
}

test('ws: channels come and go on one connection, and what belongs to an earlier subscription is ignored', async (t) => {
  sockets(t);
  const client = createClient({ transport: 'ws', clientId: 'c1', baseUrl: 'https://bus.example/' });
  t.after(() => client.stop());
  const got: string[] = [];
  const refused: string[] = [];
  client.on('refused', (channels) => refused.push(...channels));
  client.on('error', () => {});
  const take = ({ channel, id }: Message): void => void got.push(`${channel} ${id}`);
  const leave = client.subscribe('/a', { from: 0 }, take);
  await load();
  const [socket] = FakeSocket.all;
  assert.equal(socket?.url, 'wss://bus.example/message-bus/c1/ws');
  assert.deepEqual(socket?.sent, [{ subscribe: { '/a': 0, __seq: 1, __pos: '~{}' } }]);
  socket?.say(socket.subscribed(['/a']), message(1));
  client.subscribe('/b', { from: 7 }, take);
  client.subscribe('/staff', { from: 7 }, take);
  await load();
  assert.deepEqual(socket?.sent[1], { subscribe: { '/b': 7, '/staff': 7, __pos: '~{}' } });
  socket?.say({ global_id: 80, message_id: 8, channel: '/b', data: 'of an earlier subscription' });
  socket?.say(socket.subscribed(['/b'], ['/staff']), { global_id: 90, message_id: 9, channel: '/b', data: 0 });
  socket?.say(message(2));
  leave();
  await load();
  assert.deepEqual(socket?.sent[2], { unsubscribe: ['/a'] });
  assert.deepEqual(got, ['/a 1', '/b 9', '/a 2']);
  assert.deepEqual(refused, ['/staff']);
  assert.equal(FakeSocket.all.length, 1);
});

test('ws: a connection that is refused is tried again with back-off', async (t) => {
  sockets(t);
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  t.mock.method(Math, 'random', () => 0.5);
  const client = createClient({ transport: 'ws', baseUrl: 'https://bus.example/' });
  t.after(() => {
    client.stop();
    mock.timers.reset();
  });
  client.on('error', () => {});
  client.subscribe('/a', () => {});
  for (let passed = 0; passed < 60_000; passed += 50) {
    await load();
    for (const socket of FakeSocket.all) socket.onclose?.({ code: 1006, reason: '' });
    mock.timers.tick(50);
    if (passed % 5_000 === 0) await settle();
  }
  assert.equal(FakeSocket.all.length, 7);
  assert.equal(client.status, 'retrying');
});

for (const options of [{ transport: 'ws' }, { share: true }] as const) {
  test(`${JSON.stringify(options)} does what can be done where there is no WebSocket and no page`, async (t) => {
    const before = globalThis.WebSocket;
    Reflect.deleteProperty(globalThis, 'WebSocket');
    const errors: string[] = [];
    let requests = 0;
    const client = createClient({
      ...options,
      fetch: async () => {
        requests += 1;
        return new Response('[]', { headers: { 'Content-Type': 'application/json' } });
      },
    });
    t.after(() => {
      client.stop();
      Object.assign(globalThis, { WebSocket: before });
    });
    client.on('error', ({ code }) => errors.push(code));
    client.subscribe('/a', () => {});
    await load();
    if ('share' in options) assert.deepEqual([requests, errors.length], [1, 0]);
    else assert.deepEqual([requests, errors], [0, ['request']]);
  });
}
