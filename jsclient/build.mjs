// Writes dist/: the ES modules, the drop-in for message-bus.js, and the types of both. The same sources give
// the same bytes.
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';

const root = fileURLToPath(new URL('.', import.meta.url));
process.chdir(root);
await rm('dist', { recursive: true, force: true });
await mkdir('dist');

/** Leaves alone what is loaded when it is asked for: each such module is a file of its own. */
const separately = {
  name: 'separately',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/\w+\.ts$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path: path.replace(/ts$/, 'js'), external: true } : undefined,
    );
  },
};

/**
 * Members that only the modules of this package know of, and that neither a page nor another version of the client
 * sees: they get short names. `writeTypes` sees to it.
 */
const internal = [
  ...['advance', 'aim', 'change', 'createEngine', 'deliver', 'emit', 'endBacklog', 'exchangeOf', 'first', 'guard', 'hurry', 'subscriptions'],
  ...['had', 'late', 'lookUp', 'meet', 'moved', 'onLeave', 'onRenew', 'onReturn', 'parsePart', 'part', 'plan'],
  ...['planRequest', 'position', 'reach', 'rest', 'leap', 'sequence', 'settle', 'stands', 'streaming', 'tail'],
  ...['take', 'taken', 'wire', 'ask', 'BusError', 'Place', 'controller', 'mode', 'numbers', 'known'],
];

/** The short names so far: a member must have the same one in all modules. */
let shortNames = {};

for (const name of ['index', 'sse', 'ws', 'share', 'share-worker']) {
  await bundle(name, `src/${name}.ts`, 2022, { format: 'esm', plugins: [separately] });
}
const silent = { 'commonjs-variable-in-esm': 'silent' };
await bundle('message-bus', 'src/dropin/index.ts', 2018, { format: 'iife', logOverride: silent });
// CommonJS loaders go by the ending.
await copyFile('dist/message-bus.js', 'dist/message-bus.cjs');
await writeTypes();

/**
 * Joins the declarations of the public files, so that no internal file is published. Their imports of each
 * other become superfluous by that.
 */
async function writeTypes() {
  const dir = await mkdtemp(join(tmpdir(), 'messagebus-types-'));
  try {
    const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url));
    const flags = ['-p', 'tsconfig.json', '--noEmit', 'false', '--emitDeclarationOnly', '--rootDir', 'src', '--outDir', dir];
    execFileSync(process.execPath, [tsc, ...flags], { stdio: 'inherit' });
    await writeFile('dist/index.d.ts', await joined(dir, ['errors', 'types', 'client']));
    const dropin = (await joined(dir, ['dropin/settings', 'dropin/message-bus'])).replace(/\/\*\* Makes the client[\s\S]*?;\n/, '');
    await writeFile('dist/message-bus.d.ts', `${dropin}declare global {\n    var MessageBus: MessageBus;\n}\n`);
    const published = `${await readFile('dist/index.d.ts', 'utf8')}${dropin}`;
    const shortened = internal.filter((name) => new RegExp(`^ +(readonly )?${name}\\??[:(<]`, 'm').test(published));
    if (shortened.length > 0) throw new Error(`internal names are published: ${shortened.join(', ')}`);
    const [said] = /^export type Said[^]*(?=^type Telling)/m.exec(await readFile('src/hub.ts', 'utf8'));
    const told = internal.filter((name) => new RegExp(`\\b${name}\\??:`).test(said));
    if (told.length > 0) throw new Error(`internal names are told to other pages: ${told.join(', ')}`);
    const local = dropin.replaceAll(/^export (declare )?/gm, '');
    await writeFile('dist/message-bus.d.cts', `${local}declare const MessageBus: MessageBus;\nexport = MessageBus;\n`);
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** esbuild joins the files, since it reads TypeScript; terser makes them a twentieth smaller than esbuild does. */
async function bundle(name, source, ecma, options) {
  const { outputFiles, mangleCache } = await build({
    ...options,
    entryPoints: [source],
    bundle: true,
    minifySyntax: true,
    // Private members begin with one underscore; two stand on the wire.
    mangleProps: new RegExp(`^(_[a-z].*|${internal.join('|')})$`),
    charset: 'utf8',
    legalComments: 'none',
    target: `es${ecma}`,
    mangleCache: shortNames,
    write: false,
  });
  shortNames = mangleCache;
  const compress = { passes: 3, keep_fargs: false };
  const { code } = await minify(outputFiles[0].text, { module: options.format === 'esm', ecma, compress });
  await writeFile(`dist/${name}.js`, `${code}\n`);
}

async function joined(dir, names) {
  const files = await Promise.all(names.map((name) => readFile(join(dir, `${name}.d.ts`), 'utf8')));
  const lines = files.join('').split('\n');
  const text = lines.filter((line) => !/^import .* from '\.\.?\/[\w/-]+\.ts';$|^export \{\};$/.test(line)).join('\n');
  if (/from '\.|import\('\./.test(text)) throw new Error('the joined types still refer to another file');
  return text;
}
