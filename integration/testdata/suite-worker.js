// The suite in a worker of a page.
import { createClient } from '/client/index.js';
import { runSuite } from '/suite.js';

const control = new URLSearchParams(location.search).get('control');
const say = async (verb, body) => {
  const answer = await fetch(`${control}/${verb}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${verb}: ${answer.status}`);
};
postMessage(await runSuite(['auto', 'stream', 'poll', 'sse', 'ws'], { createClient, base: '/', say, many: false }));
