import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';

/** Where the built files are; set when the tests are bundled. */
declare const DIST: string;

test('dist/index.js exports createClient and MessageBusError', async () => {
  const module = (await import(`${DIST}index.js`)) as Record<string, unknown>;
  assert.deepEqual(Object.keys(module).sort(), ['MessageBusError', 'createClient']);
});

test('dist/message-bus-client.js sets one global, MessageBusClient, and can be used without a module', async () => {
  const script = await readFile(new URL(`${DIST}message-bus-client.js`), 'utf8');
  const page = createContext({});
  runInContext(script, page);
  assert.deepEqual(Object.keys(page), ['MessageBusClient']);
  assert.equal(runInContext("MessageBusClient.createClient({ clientId: 'c1' }).status", page), 'stopped');
});
