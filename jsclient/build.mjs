// Writes dist/: the ES module, the plain script, and the types of both. The same sources give the same bytes.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));
process.chdir(root);

const common = {
  entryPoints: ['src/index.ts'],
  bundle: true,
  minify: true,
  // Private members begin with an underscore. The language's own private fields would become weak maps at
  // this target, which takes a fifth more.
  mangleProps: /^_/,
  target: 'es2020',
  charset: 'utf8',
  legalComments: 'none',
};

await build({ ...common, format: 'esm', outfile: 'dist/index.js' });
await build({ ...common, format: 'iife', globalName: 'MessageBusClient', outfile: 'dist/message-bus-client.js' });
await writeTypes('dist/index.d.ts');

/**
 * Joins the declarations of the public files into one, so that no internal file is published. Their
 * imports of each other become superfluous by that.
 */
async function writeTypes(outfile) {
  const dir = await mkdtemp(join(tmpdir(), 'messagebus-types-'));
  try {
    const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url));
    const flags = ['-p', 'tsconfig.json', '--noEmit', 'false', '--emitDeclarationOnly', '--rootDir', 'src', '--outDir', dir];
    execFileSync(process.execPath, [tsc, ...flags], { stdio: 'inherit' });
    const files = await Promise.all(
      ['errors', 'types', 'client'].map((name) => readFile(join(dir, `${name}.d.ts`), 'utf8')),
    );
    const lines = files.join('').split('\n');
    const text = lines.filter((line) => !/^import .* from '\.\/\w+\.ts';$|^export \{\};$/.test(line)).join('\n');
    if (text.includes("'./")) throw new Error('the joined types still refer to another file');
    await writeFile(outfile, text);
  } finally {
    await rm(dir, { recursive: true });
  }
}
