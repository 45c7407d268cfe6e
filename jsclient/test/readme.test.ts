import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';

/** Where the built files are; set when the tests are bundled. */
declare const DIST: string;

const root = fileURLToPath(new URL('..', DIST));
const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```(\w+)\n([^]*?)^```$/gm)];
const blocksOf = (...languages: string[]): string[] => blocks.filter(([, name]) => languages.includes(name!)).map(([, , text]) => text!);

// As much of the frameworks as the examples use; no more of them is installed.
const surroundings = [
  `declare function token(): Promise<string>; declare function show(data: unknown): void;
   declare const user: { id: string }; declare const controller: AbortController;`,
  `import type { Client } from '/assets/index.js';
   declare function createContext(value: null): object; declare function useContext(context: object): Client;
   declare function useState(value: any[]): [any[], (next: any[] | ((all: any[]) => any[])) => void];
   declare function useRef<T>(value: T): { current: T };
   declare function useEffect(run: () => () => void, dependencies: unknown[]): void;`,
  `declare function shallowRef(value: any[]): { value: any[] }; declare function toValue(of: unknown): string;
   declare function watchEffect(run: (onCleanup: (end: () => void) => void) => void): void;`,
];

function compile(t: TestContext, name: string, text: string): string {
  const dir = mkdtempSync(join(root, 'node_modules', '.readme-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'example.ts'), text);
  const compilerOptions = {
    ...{ target: 'ES2022', module: 'ESNext', moduleResolution: 'bundler', lib: ['ES2022', 'DOM'], types: [], strict: true },
    ...{ noImplicitAny: false, noEmit: true, paths: { '/assets/index.js': [join(root, 'dist/index.d.ts')] } },
  };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['example.ts'] }));
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', dir], { encoding: 'utf8' });
    return '';
  } catch (error) {
    return `${name}: ${(error as { stdout: string }).stdout}`;
  }
}

test('the examples of the README fit the published types', (t) => {
  const examples = blocksOf('js', 'jsx');
  assert.equal(examples.length, surroundings.length);
  examples.forEach((example, at) => {
    assert.equal(compile(t, `example ${at + 1}`, `${surroundings[at]}\n${example}\nexport {};`), '');
  });
  assert.match(compile(t, 'wrong', `import { createClient } from '/assets/index.js'; createClient({ transport: 'pigeon' });`), /TS2322/);
});

test('the script of the README subscribes', () => {
  const [html] = blocksOf('html');
  const [, source, script] = /<script src="\/assets\/([\w.-]+)"><\/script>\s*<script>([^]*)<\/script>/.exec(html!)!;
  class Request {
    onprogress = null;
    open(): void {}
    setRequestHeader(): void {}
    send(): void {}
    abort(): void {}
  }
  const globals: Record<string, unknown> = { crypto, document: new EventTarget(), setTimeout, clearTimeout, setInterval, clearInterval, URLSearchParams, XMLHttpRequest: Request };
  globals['self'] = globals['window'] = Object.assign(globals, { addEventListener: () => {}, removeEventListener: () => {} });
  const page = createContext(globals) as unknown as { MessageBus: { callbacks: { channel: string; last_id: number }[]; stop(): void } };
  runInContext(readFileSync(new URL(source!, DIST), 'utf8'), page);
  runInContext(script!, page);
  const [entry] = page.MessageBus.callbacks;
  assert.deepEqual([entry?.channel, entry?.last_id], ['/chat', -11]);
  page.MessageBus.stop();
});
