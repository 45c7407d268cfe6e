// Runs as a SharedWorker, for pages that have no locks: it has the connection of the group that its name names.
import { kit } from './exchanges.ts';
import { Hub, type Said, type Told } from './hub.ts';
import { resolveOptions, type Settings } from './options.ts';

const { name } = globalThis as unknown as { name: string };
let headers: Readonly<Record<string, string>> = {};
let hub: Hub | undefined;

const channel = new BroadcastChannel(name);
channel.onmessage = ({ data }) => {
  const said = data as Said;
  if (said.kind !== 'join' || !said.settings) return;
  // Each page that joins brings what it would send now.
  headers = said.headers ?? {};
  hub ??= new Hub(kit, settingsOf(said.settings, said.clientId), name);
};

// What pages have said before the worker ran, nobody has heard: now they say it again.
channel.postMessage({ kind: 'up', hub: '', count: 0, clientId: '' } satisfies Told);

function settingsOf(given: Partial<Settings>, clientId: string): Settings {
  return resolveOptions({ ...given, clientId, headers: () => headers });
}
