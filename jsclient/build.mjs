// Writes dist/: the ES modules, the drop-in for message-bus.js, and the types of both. The same sources give
// the same bytes.
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

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

const common = {
  bundle: true,
  minify: true,
  // Private members begin with one underscore; two stand on the wire. The language's own private fields would
  // become weak maps at this target, which takes a fifth more.
  mangleProps: /^_[a-z]/,
  charset: 'utf8',
  legalComments: 'none',
};

await build({
  ...common,
  entryPoints: ['index', 'sse', 'ws', 'share', 'share-worker'].map((name) => `src/${name}.ts`),
  format: 'esm',
  target: 'es2020',
  plugins: [separately],
  outdir: 'dist',
});
await build({
  ...common,
  entryPoints: ['src/dropin/index.ts'],
  format: 'iife',
  target: 'es2018',
  logOverride: { 'commonjs-variable-in-esm': 'silent' },
  outfile: 'dist/message-bus.js',
});
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
    await writeFile('dist/index.d.ts', await joined(dir, ['errors', 'types', 'create-client']));
    const dropin = (await joined(dir, ['dropin/settings', 'dropin/message-bus'])).replace(/\/\*\* Makes the client[\s\S]*?;\n/, '');
    await writeFile('dist/message-bus.d.ts', `${dropin}declare global {\n    var MessageBus: MessageBus;\n}\n`);
    const local = dropin.replaceAll(/^export (declare )?/gm, '');
    await writeFile('dist/message-bus.d.cts', `${local}declare const MessageBus: MessageBus;\nexport = MessageBus;\n`);
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function joined(dir, names) {
  const files = await Promise.all(names.map((name) => readFile(join(dir, `${name}.d.ts`), 'utf8')));
  const lines = files.join('').split('\n');
  const text = lines.filter((line) => !/^import .* from '\.\.?\/[\w/-]+\.ts';$|^export \{\};$/.test(line)).join('\n');
  if (/from '\.|import\('\./.test(text)) throw new Error('the joined types still refer to another file');
  return text;
}
