// The suite in Node: node suite.mjs DIST BASE CONTROL MANY TRANSPORT...
import { runSuite } from './suite.js';

const [dist, base, control, many, ...transports] = process.argv.slice(2);
const { createClient } = await import(dist);
const say = async (verb, body) => {
  const answer = await fetch(`${control}/${verb}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${verb}: ${answer.status} ${await answer.text()}`);
};
console.log(JSON.stringify(await runSuite(transports, { createClient, base, say, many: many === 'many' })));
process.exit(0);
