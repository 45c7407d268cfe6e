// Bundles each test file, since Node 20 does not run TypeScript, and hands the bundles to node's test runner.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const names = readdirSync(here).filter((name) => name.endsWith('.test.ts'));
const dir = mkdtempSync(join(tmpdir(), 'messagebus-test-'));
try {
  await build({
    entryPoints: names.map((name) => join(here, name)),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    outExtension: { '.js': '.mjs' },
    outdir: dir,
    // What the sources load when it is asked for is bundled with the tests.
    define: { DIST: JSON.stringify(new URL('../dist/', import.meta.url).href) },
  });
  const bundles = names.map((name) => join(dir, name.replace(/\.ts$/, '.mjs')));
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...bundles], { stdio: 'inherit' });
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(dir, { recursive: true });
}
