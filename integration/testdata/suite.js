// One suite for every place in which the client runs. `say` has the server do something: publish numbers, cut
// connections. Each case throws if it does not hold.

function check(condition, text) {
  if (!condition) throw new Error(text);
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Collects numbers of a channel until there are so many, and checks that they are 1, 2, 3 … */
async function collect(client, channel, count, numbers = []) {
  await new Promise((resolve, reject) => {
    // One that is only possible may be a false alarm; whether anything is missing shows in the numbers.
    client.on('gap', (gap) => gap.reason === 'possible' || reject(new Error(`a gap where nothing was lost: ${JSON.stringify(gap)}`)));
    client.subscribe(channel, { from: 0 }, ({ data }) => {
      numbers.push(data);
      if (numbers.length === count) resolve();
    });
  });
  numbers.forEach((number, i) => check(number === i + 1, `number ${number} came as number ${i + 1}`));
}

function clientFor(createClient, base, options) {
  const client = createClient({ baseUrl: base, timing: { minPollInterval: 20, maxPollInterval: 400, callbackInterval: 500 }, ...options });
  client.on('error', () => {});
  return client;
}

/** The cases for one transport. */
export function casesOf(transport, { createClient, base, say }) {
  const begin = (options = {}) => clientFor(createClient, base, { transport, ...options });
  const channel = (name) => `/suite/${transport}/${name}`;
  return {
    async 'numbers that are there, and numbers that come'() {
      const client = begin();
      await say('publish', { channel: channel('some'), from: 1, count: 50 });
      const all = collect(client, channel('some'), 200);
      await say('publish', { channel: channel('some'), from: 51, count: 150 });
      await all;
      client.stop();
    },

    async 'the newest two, and what follows'() {
      const client = begin();
      await say('publish', { channel: channel('tail'), from: 1, count: 5 });
      const got = [];
      const messages = client.messages(channel('tail'), { from: { last: 2 } });
      for await (const { data } of messages) {
        got.push(data);
        if (got.length === 2) await say('publish', { channel: channel('tail'), from: 6, count: 1 });
        if (got.length === 3) break;
      }
      check(got.join() === '4,5,6', `got ${got}`);
      client.stop();
    },

    async 'a client goes on where another one stopped'() {
      await say('publish', { channel: channel('saved'), from: 1, count: 3 });
      const first = begin();
      await collect(first, channel('saved'), 3);
      const positions = JSON.parse(JSON.stringify(first.positions()));
      first.stop();
      await say('publish', { channel: channel('saved'), from: 4, count: 1 });
      const second = begin({ positions });
      const next = await second.messages(channel('saved')).next();
      check(next.value.data === 4, `got ${next.value.data}`);
      second.stop();
    },

    async 'an iteration ends by its signal, and the client goes on'() {
      const client = begin();
      const ending = new AbortController();
      const got = [];
      const rest = collect(client, channel('abort'), 4);
      await say('publish', { channel: channel('abort'), from: 1, count: 2 });
      for await (const { data } of client.messages(channel('abort'), { from: 0, signal: ending.signal })) {
        got.push(data);
        if (got.length === 2) ending.abort();
      }
      check(got.join() === '1,2', `got ${got}`);
      await say('publish', { channel: channel('abort'), from: 3, count: 2 });
      await rest;
      client.stop();
    },

    async 'a clock that jumps'() {
      const client = begin();
      const { now } = Date;
      const numbers = [];
      let published = 0;
      try {
        const all = collect(client, channel('clock'), 50, numbers);
        for (const hours of [0, 1, -1, 10_000, 0]) {
          Date.now = () => now() + hours * 3_600_000;
          await say('publish', { channel: channel('clock'), from: published + 1, count: 10 });
          published += 10;
          while (numbers.length < published) await Promise.race([all, pause(10)]);
        }
        await all;
      } finally {
        Date.now = now;
        client.stop();
      }
    },

    async 'a callback that throws stops nothing'() {
      const client = begin();
      const errors = [];
      client.on('error', ({ code }) => errors.push(code));
      client.subscribe(channel('throw'), { from: 0 }, () => { throw new Error('on purpose'); });
      const all = collect(client, channel('throw'), 3);
      await say('publish', { channel: channel('throw'), from: 1, count: 3 });
      await all;
      check(errors.filter((code) => code === 'callback').length === 3, `errors ${errors}`);
      client.stop();
    },
  };
}

/** Ten thousand numbers in order, while connections are cut. */
export async function tenThousand(transport, { createClient, base, say }) {
  const client = clientFor(createClient, base, { transport });
  const channel = `/suite/${transport}/many`;
  const numbers = [];
  const all = collect(client, channel, 10_000, numbers);
  // No faster than they arrive, so that every cut meets a client that reads.
  const have = async (count) => {
    while (numbers.length < count) await Promise.race([all, pause(10)]);
  };
  for (let sent = 0; sent < 10_000; sent += 1_000) {
    await say('publish', { channel, from: sent + 1, count: 500 });
    await say('cut', {});
    await say('publish', { channel, from: sent + 501, count: 500 });
    await have(sent + 1_000);
  }
  await all;
  client.stop();
}

/** Runs everything; returns what failed, and how many cases there were. */
export async function runSuite(transports, env) {
  const failed = [];
  let count = 0;
  const attempt = async (name, run) => {
    count += 1;
    try {
      await run();
    } catch (error) {
      failed.push(`${name}: ${error?.stack ?? error}`);
    }
  };
  for (const transport of transports) {
    for (const [name, run] of Object.entries(casesOf(transport, env))) await attempt(`${transport}: ${name}`, run);
    if (env.many) await attempt(`${transport}: ten thousand`, () => tenThousand(transport, env));
  }
  return { count, failed };
}
