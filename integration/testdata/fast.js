// Has time go faster on a page: as often as its address says by `speed`.
{
  const speed = Number(new URLSearchParams(location.search).get('speed') ?? 1);
  const { setTimeout: wait, setInterval: repeat, Date: { now } } = globalThis;
  if (speed !== 1) {
    globalThis.setTimeout = (run, delay, ...rest) => wait.call(globalThis, run, delay / speed, ...rest);
    globalThis.setInterval = (run, delay, ...rest) => repeat.call(globalThis, run, delay / speed, ...rest);
    // A busy machine that stands still, so often as long, must not look like one that has slept.
    const mostAtOnce = 1_000;
    let last = now();
    let shown = last;
    const tick = () => {
      const time = now();
      shown += Math.min((time - last) * speed, mostAtOnce);
      last = time;
      wait.call(globalThis, tick, 20);
    };
    tick();
    Date.now = () => shown;
  }
}
