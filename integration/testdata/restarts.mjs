// Prints what it hears as lines of JSON: node restarts.mjs DIST BASE TRANSPORT...
import { listen } from './restarts.js';

const [dist, base, ...transports] = process.argv.slice(2);
const { createClient } = await import(dist);
listen({ createClient, base, transports, hear: (transport, data) => console.log(JSON.stringify({ transport, data })) });
