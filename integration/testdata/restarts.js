/** Subscribes a client for each transport to /numbers of the server at `base`, and has every number heard. */
export function listen({ createClient, base, transports, hear }) {
  for (const transport of transports) {
    const shared = transport === 'shared';
    const client = createClient({
      baseUrl: base,
      ...(shared ? { share: true } : { transport }),
      timing: { minPollInterval: 20, maxPollInterval: 400, callbackInterval: 500 },
    });
    client.on('error', () => {});
    // A restarted server cannot always tell that nothing was lost; whether anything was shows in the numbers.
    client.on('gap', ({ reason }) => reason === 'possible' || hear(transport, `a gap: ${reason}`));
    client.subscribe('/numbers', { from: 0 }, ({ data }) => hear(transport, data));
  }
}
