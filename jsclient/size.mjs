// Prints the compressed sizes of what a page loads, and fails when one outgrows its budget.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const kilobyte = 1024;
const loads = [
  { what: 'the drop-in', files: ['message-bus.js'], budget: 8 * kilobyte },
  { what: 'the module', files: ['index.js'], budget: 5 * kilobyte },
  { what: 'the module with sharing', files: ['index.js', 'share.js'], budget: 8 * kilobyte },
  { what: 'the module with server-sent events', files: ['index.js', 'sse.js'], budget: 6 * kilobyte },
  { what: 'the module with WebSocket', files: ['index.js', 'ws.js'], budget: 6.5 * kilobyte },
];

for (const { what, files, budget } of loads) {
  const sizes = files.map((name) => gzipSync(readFileSync(new URL(`dist/${name}`, import.meta.url)), { level: 9 }).length);
  const size = sizes.reduce((sum, one) => sum + one);
  console.log(`${what}: ${size} bytes compressed, of ${budget}`);
  if (size > budget) {
    console.error(`${what} is over its budget`);
    process.exitCode = 1;
  }
}
