// Checks the package as npm would publish it: its files, and that loaders and compilers find everything.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('.', import.meta.url)));

const expected = [
  'README.md',
  'dist/index.d.ts',
  'dist/index.js',
  'dist/message-bus.cjs',
  'dist/message-bus.d.cts',
  'dist/message-bus.d.ts',
  'dist/message-bus.js',
  'dist/share-worker.js',
  'dist/share.js',
  'dist/sse.js',
  'dist/ws.js',
  'package.json',
];

const dir = mkdtempSync(join(tmpdir(), 'messagebus-package-'));
try {
  const packed = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', dir], { encoding: 'utf8' }));
  const [{ filename, files }] = Array.isArray(packed) ? packed : Object.values(packed);
  const found = files.map(({ path }) => path).sort();
  if (found.join() !== expected.join()) throw new Error(`the package has\n${found.join('\n')}\nand should have\n${expected.join('\n')}`);
  console.log(`npm pack: ${found.length} files`);
  const archive = join(dir, filename);
  run('publint', archive, '--strict');
  // Node before version 16 looked at no exports; and what is a module cannot be required.
  run('attw', archive, '--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm');
} finally {
  rmSync(dir, { recursive: true });
}

function run(tool, ...args) {
  execFileSync(join('node_modules', '.bin', tool), args, { stdio: 'inherit' });
}
