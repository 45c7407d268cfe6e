// Prints the compressed sizes of the scripts, and fails when the module outgrows its budget.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const budget = 5 * 1024;

const sizes = ['index.js', 'message-bus-client.js'].map((name) => {
  const bytes = readFileSync(new URL(`dist/${name}`, import.meta.url));
  const compressed = gzipSync(bytes, { level: 9 }).length;
  console.log(`dist/${name}: ${bytes.length} bytes, ${compressed} compressed`);
  return compressed;
});
if (sizes[0] > budget) {
  console.error(`dist/index.js is over its budget of ${budget} compressed bytes`);
  process.exitCode = 1;
}
