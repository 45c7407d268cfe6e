import { createClient } from '/client/index.js';
const kind = location.search.slice(1);
if (kind === 'worker') Object.defineProperty(navigator, 'locks', { value: undefined });
globalThis.received = [];
const client = createClient(kind === 'shared' || kind === 'worker' ? { share: true } : { transport: kind });
client.subscribe('/numbers', { from: 0 }, ({ data }) => received.push(data));
