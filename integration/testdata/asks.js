// Tells how long after a moment a page asks the server: in tenths of a second of the page's own timers, which a
// busy machine stretches. undefined: it has not asked yet.
globalThis.askedAfter = undefined;
globalThis.watchAsks = (() => {
  let tenths = 0;
  let timer;
  const count = () => {
    tenths += 1;
    timer = setTimeout(count, 100);
  };
  const asks = () => { globalThis.askedAfter ??= tenths; };
  const { fetch, WebSocket, XMLHttpRequest: { prototype } } = globalThis;
  const { send } = prototype;
  globalThis.fetch = (...args) => {
    asks();
    return fetch(...args);
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(url) {
      asks();
      super(url);
    }
  };
  prototype.send = function (body) {
    asks();
    send.call(this, body);
  };
  return () => {
    clearTimeout(timer);
    tenths = 0;
    globalThis.askedAfter = undefined;
    timer = setTimeout(count, 100);
  };
})();
