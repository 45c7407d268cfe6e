// Has time go faster on a page: as often as its address says by `speed`.
{
  const speed = Number(new URLSearchParams(location.search).get('speed') ?? 1);
  const { setTimeout: wait, Date: { now } } = globalThis;
  const start = now();
  globalThis.setTimeout = (run, delay, ...rest) => wait.call(globalThis, run, delay / speed, ...rest);
  Date.now = () => start + (now() - start) * speed;
}
