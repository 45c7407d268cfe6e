// What applications do with message-bus.js, against a server that does as the page tells it. Whatever the
// client sends, hands out and returns is noted; two clients that do the same leave the same notes.
const seen = { requests: [], calls: [], notes: [] };
const note = (what, value) => { seen.notes.push([what, value === undefined ? 'undefined' : value]); };
const control = async (verb, body) => {
  const answer = await fetch(`/script/${verb}?page=${asked.get('page')}`, { method: 'POST', body: JSON.stringify(body ?? {}) });
  if (!answer.ok) throw new Error(`${verb}: ${await answer.text()}`);
  return answer.json();
};

/** Waits for the client's next request and notes it. */
async function next() {
  const request = await control('next');
  seen.requests.push({ method: request.method, path: request.path, headers: request.headers, body: request.body });
  const say = (step) => control('answer', { id: request.id, ...step });
  return {
    body: request.body,
    head: (status = 200, headers = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }) => say({ status, headers }),
    write: (text) => say({ text }),
    part: (...messages) => say({ text: `${JSON.stringify(messages).replaceAll('\r\n|\r\n', '\r\n||\r\n')}\r\n|\r\n` }),
    end: () => say({ end: true }),
    cut: () => say({ cut: true }),
    /** Until the client has ended the request. */
    gone: () => control('gone', { id: request.id }),
    async json(...messages) {
      await say({ status: 200, headers: { 'Content-Type': 'application/json; charset=utf-8' }, text: JSON.stringify(messages), end: true });
    },
    async whole(status, headers, text) {
      await say({ status, headers, text, end: true });
    },
  };
}

/** Until so many calls have been noted. */
async function called(n) {
  while (seen.calls.length < n) await new Promise((resolve) => { setTimeout(resolve, 5); });
}

const hear = (name) => (data, globalId, messageId) => { seen.calls.push([name, data, globalId, messageId]); };
const message = (channel, id, data = `${channel} ${id}`, globalId = id + 1000) => ({ global_id: globalId, message_id: id, channel, data });
const status = (data) => ({ global_id: -1, message_id: -1, channel: '/__status', data });
/** The first answer of a stream. */
async function open() {
  const request = await next();
  await request.head();
  await request.part();
  return request;
}

function begin() {
  MessageBus.clientId = 'c0ffee';
  MessageBus.callbackInterval = 300;
  MessageBus.backgroundCallbackInterval = 400;
  MessageBus.minPollInterval = 20;
  MessageBus.maxPollInterval = 600;
  if (asked.get('ajax') === 'adapter' && !MessageBus.ajax) MessageBus.ajax = adapter;
}

/** For pages without jQuery; the gem's client has none of its own. */
function adapter(options) {
  const xhr = new XMLHttpRequest();
  xhr.open('POST', options.url);
  for (const name in options.headers) xhr.setRequestHeader(name, options.headers[name]);
  xhr.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');
  if (options.messageBus.chunked) options.messageBus.onProgressListener(xhr);
  xhr.onloadend = () => {
    if (xhr.status === 200) options.success(xhr.responseText);
    else options.error(xhr, xhr.status === 0 ? 'abort' : 'error');
    options.complete();
  };
  xhr.send(new URLSearchParams(options.data).toString());
  return xhr;
}

const scenarios = {
  async defaults() {
    for (const name of Object.keys(MessageBus).sort()) {
      const value = MessageBus[name];
      note(name, typeof value === 'function' ? 'function' : name === 'clientId' ? /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/.test(value) : JSON.stringify(value));
    }
    try { MessageBus.status(); } catch (e) { note('status before start', e); }
  },

  async stream() {
    begin();
    const callback = hear('a');
    note('subscribe returns it', MessageBus.subscribe('/a', callback, 3) === callback);
    MessageBus.subscribe('/b', hear('b'));
    MessageBus.subscribe('/c', hear('c'), null);
    MessageBus.subscribe('/d', hear('d'), 0);
    MessageBus.subscribe('/e e?&=é', hear('e'), -3);
    const request = await open();
    note('status', MessageBus.status());
    await request.part(message('/a', 4), message('/e e?&=é', 8), status({ '/b': 7, '/c': 9 }));
    await request.part(message('/b', 8, { of: ['any', 1, null, { kind: true }] }));
    await request.part(message('/other', 1));
    await request.part(message('/d', 1, 'a separator \r\n|\r\n in the data'), message('/a', 5));
    await called(5);
    await request.end();
    const second = await next();
    await second.head();
    await second.part(message('/a', 6));
    await called(6);
    note('last ids', MessageBus.callbacks.map((c) => [c.channel, c.last_id]));
  },

  async partsInPieces() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await next();
    await request.head();
    const text = `[]\r\n|\r\n${JSON.stringify([message('/a', 1, 'é☃𝄞')])}\r\n|\r\n${JSON.stringify([message('/a', 2)])}\r\n|\r\n`;
    for (let i = 0; i < text.length; i += 7) await request.write(text.slice(i, i + 7).toWellFormed());
    await called(2);
  },

  async longPolling() {
    begin();
    MessageBus.enableChunkedEncoding = false;
    MessageBus.subscribe('/a', hear('a'), -1);
    await (await next()).json(status({ '/a': 3 }));
    await (await next()).json(message('/a', 4), message('/a', 5));
    await (await next()).json();
    await next();
  },

  async polling() {
    begin();
    MessageBus.enableLongPolling = false;
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).json(message('/a', 1));
    await called(1);
    await (await next()).json();
    await next();
  },

  async wholeAnswerToAStream() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).json(message('/a', 1));
    await next();
  },

  async headers() {
    begin();
    MessageBus.headers = { 'Discourse-Present': 'true', 'X-SILENCE-LOGGER': 'false', 'Dont-Chunk': 'no' };
    MessageBus.baseUrl = '/forum/';
    MessageBus.subscribe('/a', hear('a'), 0);
    const first = await open();
    delete MessageBus.headers['Dont-Chunk'];
    MessageBus.enableChunkedEncoding = false;
    MessageBus.headers['X-Extra'] = '1';
    await first.end();
    await (await next()).json();
  },

  async subscribeWhileHeld() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const first = await open();
    await first.part(message('/a', 1));
    await called(1);
    MessageBus.subscribe('/b', hear('b'), 5);
    await first.gone();
    const second = await next();
    await second.head();
    await second.part(message('/b', 6), message('/a', 2));
    await called(3);
  },

  async callbackSubscribes() {
    begin();
    let done = false;
    MessageBus.subscribe('/a', (...args) => {
      hear('a')(...args);
      if (!done) MessageBus.subscribe('/b', hear('b'), 0);
      done = true;
    }, 0);
    const first = await open();
    await first.part(message('/a', 1), message('/a', 2));
    await first.gone();
    const second = await next();
    await second.head();
    await second.part(message('/b', 1));
    await called(3);
  },

  async sameChannelTwice() {
    begin();
    MessageBus.subscribe('/a', hear('first'), 0);
    MessageBus.subscribe('/b', hear('b'), 0);
    MessageBus.subscribe('/a', hear('second'), 0);
    const request = await open();
    await request.part(message('/a', 1), message('/a', 2));
    await called(4);
  },

  async unsubscribe() {
    begin();
    const f = hear('f');
    for (const channel of ['/chat/1', '/chat/2', '/chatter', '/x', '/y']) MessageBus.subscribe(channel, f, 0);
    MessageBus.subscribe('/x', hear('x'), 0);
    MessageBus.subscribe('/a*b', f, 0);
    const first = await open();
    note('none', MessageBus.unsubscribe('/nothing'));
    note('no glob', MessageBus.unsubscribe('/cha'));
    note('other function', MessageBus.unsubscribe('/y', hear('z')));
    note('glob', MessageBus.unsubscribe('/chat/*'));
    note('function', MessageBus.unsubscribe('/x', f));
    note('star inside', MessageBus.unsubscribe('/a*b'));
    note('left', MessageBus.callbacks.map((c) => c.channel));
    await first.gone();
    const second = await next();
    await second.head();
    await second.part(message('/x', 1), message('/y', 1), message('/chat/1', 1));
    await called(2);
    note('all', MessageBus.unsubscribe('*'));
    await second.gone();
    MessageBus.subscribe('/late', hear('late'), 0);
    await open();
  },

  async pauseAndResume() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await open();
    MessageBus.pause();
    note('status', MessageBus.status());
    await request.part(message('/a', 1));
    await request.part(message('/a', 2), status({ '/a': 3 }));
    await new Promise((resolve) => { setTimeout(resolve, 200); });
    note('calls while paused', seen.calls.length);
    MessageBus.resume();
    await called(2);
    note('status', MessageBus.status());
    await request.part(message('/a', 4));
    await called(3);
  },

  async requestsWhilePaused() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await open();
    MessageBus.pause();
    await request.part(message('/a', 1));
    await request.end();
    const second = await next();
    await second.head();
    if (second.body.startsWith('%2Fa=0')) await second.part(message('/a', 1));
    else await second.part();
    await new Promise((resolve) => { setTimeout(resolve, 200); });
    MessageBus.resume();
    await second.part(message('/a', 2));
    await called(asked.get('client') === 'gem' ? 3 : 2);
    await second.end();
  },

  async stopAndStart() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const first = await open();
    await first.part(message('/a', 1));
    await called(1);
    note('listens', typeof MessageBus.onVisibilityChange);
    note('stop', MessageBus.stop());
    await first.gone();
    note('status', MessageBus.status());
    note('longPoll', MessageBus.longPoll === null);
    note('listens', MessageBus.onVisibilityChange);
    MessageBus.subscribe('/b', hear('b'), 0);
    note('status', MessageBus.status());
    note('start', MessageBus.start());
    note('again', MessageBus.start());
    note('status', MessageBus.status());
    const second = await open();
    note('longPoll', typeof MessageBus.longPoll.abort);
    await second.part(message('/a', 2), message('/b', 1));
    await called(3);
  },

  async startFirst() {
    begin();
    MessageBus.start();
    MessageBus.subscribe('/a', hear('a'), 0);
    await open();
  },

  async wrongArguments() {
    begin();
    for (const [channel, lastId] of [['/a', '5'], ['/a', {}], [5, 0], [undefined, 0]]) {
      try {
        MessageBus.subscribe(channel, hear('x'), lastId);
        note('accepted', [channel, lastId]);
      } catch (e) {
        note('thrown', e);
      }
    }
    note('status', MessageBus.status());
    MessageBus.subscribe('/a', hear('a'), 2.5);
    await open();
  },

  async statusAsAChannel() {
    begin();
    MessageBus.subscribe('/a', hear('a'), -1);
    MessageBus.subscribe('/__status', hear('status'), -1);
    const request = await open();
    await request.part(status({ '/a': 3 }));
    await called(1);
    await request.end();
    await next();
  },

  async throwingCallback() {
    begin();
    MessageBus.subscribe('/a', () => { throw new Error('on purpose'); }, 0);
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await open();
    await request.part(message('/a', 1));
    await request.part(message('/a', 2));
    await called(2);
    await request.end();
    await next();
  },

  async idsAsTheyCome() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 10);
    const request = await open();
    await request.part(message('/a', 11));
    await request.part(message('/a', 20));
    await request.part(message('/a', 3));
    await request.part(message('/a', 3));
    await request.part(status({ '/a': 1 }));
    await called(4);
    await request.end();
    await next();
  },

  async lateMessage() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 10);
    const request = await open();
    await request.part(message('/a', 12));
    await request.part(message('/a', 11), status({ '/a': 12 }));
    await request.part(message('/a', 13));
    await called(3);
    await request.end();
    await next();
  },

  async refusals() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    for (const code of [500, 403, 502, 401]) await (await next()).whole(code, { 'Content-Type': 'text/html' }, '<h1>no</h1>');
    await (await next()).cut();
    const request = await open();
    await request.part(message('/a', 1));
    await called(1);
  },

  async limited() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const before = performance.now();
    await (await next()).whole(429, { 'Retry-After': '2' }, 'slower');
    await open();
    note('at least 15 s', performance.now() - before >= 15_000);
  },

  async cutInAPart() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await open();
    await request.part(message('/a', 1));
    await called(1);
    await request.write('[{"global_id":5,"mess');
    await request.cut();
    const second = await open();
    await second.part(message('/a', 2));
    await called(2);
  },

  async nothingInTime() {
    begin();
    MessageBus.firstChunkTimeout = 300;
    MessageBus.retryChunkedAfterRequests = 2;
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).gone();
    await (await next()).json(message('/a', 1));
    await (await next()).json(message('/a', 2));
    await open();
  },

  async noJson() {
    begin();
    MessageBus.enableChunkedEncoding = false;
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).whole(200, { 'Content-Type': 'text/html' }, '<h1>Please log in</h1>');
    await (await next()).json(message('/a', 1));
    await called(1);
  },

  async hiddenPage() {
    begin();
    MessageBus.minHiddenPollInterval = 100;
    turn(true);
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).json(message('/a', 1));
    await (await next()).json();
    await called(1);
    turn(false);
    await open();
  },

  async alwaysLongPoll() {
    begin();
    MessageBus.minHiddenPollInterval = 100;
    MessageBus.alwaysLongPoll = true;
    turn(true);
    MessageBus.subscribe('/a', hear('a'), 0);
    await open();
  },

  async shouldLongPollCallback() {
    begin();
    let may = false;
    MessageBus.shouldLongPollCallback = () => may;
    MessageBus.subscribe('/a', hear('a'), 0);
    await (await next()).json();
    may = true;
    await open();
  },

  async ownAjax() {
    begin();
    const standard = MessageBus.ajax || adapter;
    MessageBus.ajax = (options) => {
      note('ajax', [options.url, options.async, options.dataType, options.type, options.messageBus.chunked,
        ['success', 'error', 'complete', 'xhr'].map((name) => typeof options[name])]);
      return standard(options);
    };
    MessageBus.subscribe('/a', hear('a'), 0);
    const request = await open();
    await request.part(message('/a', 1));
    await called(1);
    MessageBus.enableLongPolling = false;
    MessageBus.subscribe('/b', hear('b'), 0);
    await request.gone();
    const second = await next();
    MessageBus.callbackInterval = 60_000; // no third one, however slow this page is
    await second.json(message('/a', 2));
    await called(2);
  },

  async diagnostics() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    await open();
    const log = console.log;
    console.log = (line) => note('console', typeof line === 'string' ? line.replace(/[\d.]+ seconds/, 'n seconds') : line.map((c) => Object.keys(c).sort()));
    note('returns', MessageBus.diagnostics());
    console.log = log;
  },

  async methodsWithoutTheirObject() {
    begin();
    const { subscribe, unsubscribe, stop, status: state } = MessageBus;
    subscribe('/a', hear('a'), 0);
    await open();
    note('unsubscribe', unsubscribe('/a'));
    stop();
    note('status', state());
  },

  async lastIdSetByHand() {
    begin();
    MessageBus.subscribe('/a', hear('a'), 0);
    MessageBus.callbacks[0].last_id = 41;
    MessageBus.callbacks.push({ channel: '/by/hand', func: hear('by hand'), last_id: 7 });
    const request = await open();
    await request.part(message('/a', 42), message('/by/hand', 8));
    await called(2);
  },
};

async function run() {
  try {
    await scenarios[asked.get('scenario')]();
  } catch (error) {
    seen.failed = String(error?.stack ?? error);
  }
  MessageBus.stop();
  globalThis.done = true;
}
if (asked.has('scenario')) void run();
