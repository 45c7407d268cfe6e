import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import type { Client, ClientOptions } from '../src/index.ts';

/** Where the built files are; set when the tests are bundled. */
declare const DIST: string;

test('dist/index.js exports createClient and MessageBusError', async () => {
  const module = (await import(`${DIST}index.js`)) as Record<string, unknown>;
  assert.deepEqual(Object.keys(module).sort(), ['MessageBusError', 'createClient']);
});

/** Messages of one client of what is built. */
async function firstMessage(options: ClientOptions): Promise<unknown> {
  const { createClient } = (await import(`${DIST}index.js`)) as { createClient(options: ClientOptions): Client };
  const client = createClient({ baseUrl: 'https://bus.example/', clientId: 'c1', ...options });
  try {
    return await new Promise((resolve, reject) => {
      client.on('error', reject);
      client.subscribe('/a', { from: 0 }, resolve);
    });
  } finally {
    client.stop();
  }
}

const wire = { global_id: 10, message_id: 1, channel: '/a', data: 'x' };
const message = { channel: '/a', id: 1, globalId: 10, data: 'x' };
const answer = (type: string, body: string): ClientOptions => ({
  fetch: async () => new Response(body, { headers: { 'Content-Type': type } }),
});

test('dist/index.js and what it loads know each other by the same names', async (t) => {
  assert.deepEqual(await firstMessage(answer('text/plain', `[${JSON.stringify(wire)}]\r\n|\r\n`)), message);
  const events = answer('text/event-stream', `id: 10 e1\ndata: ${JSON.stringify(wire)}\n\n`);
  assert.deepEqual(await firstMessage({ ...events, transport: 'sse' }), message);
  const before = globalThis.WebSocket;
  t.after(() => Object.assign(globalThis, { WebSocket: before }));
  class Socket {
    onopen: (() => void) | undefined;
    onmessage: ((event: object) => void) | undefined;
    constructor() {
      setTimeout(() => this.onopen?.());
    }
    send(): void {
      const subscribed = { global_id: -1, message_id: -1, channel: '/__subscribed', data: { channels: ['/a'] } };
      this.onmessage?.({ data: JSON.stringify([subscribed, wire]) });
    }
    close(): void {}
  }
  Object.assign(globalThis, { WebSocket: Socket });
  assert.deepEqual(await firstMessage({ transport: 'ws' }), message);
});

/** The least of a page that the drop-in needs to be loaded. */
function pageOf(globals: Record<string, unknown>): Record<string, unknown> {
  const page: Record<string, unknown> = {
    document: {},
    crypto,
    XMLHttpRequest: class {
      onprogress = null;
    },
    ...globals,
  };
  page['self'] = page;
  return createContext(page) as Record<string, unknown>;
}

const script = async (): Promise<string> => readFile(new URL(`${DIST}message-bus.js`), 'utf8');

test('dist/message-bus.js sets the global MessageBus, and noConflict gives the name back', async () => {
  const page = pageOf({ MessageBus: 'what was there' });
  runInContext(await script(), page);
  const bus = page['MessageBus'] as { noConflict(): unknown; callbackInterval: number };
  assert.equal(bus.callbackInterval, 15_000);
  assert.equal(bus.noConflict(), bus);
  assert.equal(page['MessageBus'], 'what was there');
  page['MessageBus'] = 'somebody else';
  assert.equal(bus.noConflict(), bus);
  assert.equal(page['MessageBus'], 'somebody else');
});

test('dist/message-bus.js defines itself to an AMD loader, and sets the global as well', async () => {
  const defined: unknown[] = [];
  const define = Object.assign((dependencies: unknown[], factory: () => unknown) => defined.push(dependencies.length, factory()), { amd: {} });
  const page = pageOf({ define });
  runInContext(await script(), page);
  assert.deepEqual(defined, [0, page['MessageBus']]);
});

test('dist/message-bus.cjs is what require returns, and has no use for eval', async () => {
  const module = { exports: {} };
  const page = pageOf({ module });
  const text = await script();
  runInContext(text, page);
  assert.equal(module.exports, page['MessageBus']);
  assert.ok(!/\beval\b|new Function|Function\(/.test(text));
  assert.equal(await readFile(new URL(`${DIST}message-bus.cjs`), 'utf8'), text);
});
