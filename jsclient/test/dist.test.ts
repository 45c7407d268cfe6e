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
