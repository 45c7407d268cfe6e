import type { Kit } from './exchanges.ts';
import type { Plan } from './plan.ts';
import type { Position } from './positions.ts';
import type { Exchange, Run } from './transport.ts';
import type { Message } from './types.ts';

/** Names the channels of a subscription, before their backlog. */
const subscribedChannel = '/__subscribed';

const replaced = 1000;
const goingAway = 1001;

/** One WebSocket for all channels, which come and go on it. */
export default function ws(kit: Kit): Exchange {
  return ({ baseUrl, clientId, timing }, run) =>
    new Promise((resolve, reject) => {
      const url = new URL(`${baseUrl}message-bus/${clientId}/ws`, globalThis.location?.href);
      const socket = new WebSocket(url.href.replace(/^http/, 'ws'));
      const link = new Link(kit, socket, run);
      const timer = setTimeout(() => socket.close(), timing.silenceTimeout);
      const end = (error?: unknown): void => {
        clearTimeout(timer);
        socket.onclose = socket.onmessage = null;
        socket.close();
        if (error) reject(error);
        else resolve();
      };
      run.controller.signal.addEventListener('abort', () => end());
      socket.onopen = () => {
        link.join(run.plan, run.sequence);
        run.change = (positions) => link.change(positions);
      };
      socket.onmessage = ({ data }) => {
        clearTimeout(timer);
        try {
          link.take(String(data));
        } catch (cause) {
          end(cause);
        }
      };
      socket.onclose = ({ code, reason }) => {
        const planned = link.joined && (code === replaced || code === goingAway);
        end(planned ? undefined : new kit.BusError('request', `the WebSocket ended with ${code} ${reason}`.trim()));
      };
    });
}

/** What is said on one WebSocket. */
class Link {
  /** Whether the server has answered a subscription. */
  joined = false;
  private readonly _kit: Kit;
  private readonly _socket: WebSocket;
  private readonly _run: Run;
  private _channels: readonly string[] = [];
  /** How many answers are to come for a channel: what comes of it before the last one is of an earlier subscription. */
  private readonly _pending = new Map<string, number>();

  constructor(kit: Kit, socket: WebSocket, run: Run) {
    this._kit = kit;
    this._socket = socket;
    this._run = run;
    this._channels = run.plan.numbers.map(([channel]) => channel);
  }

  join({ numbers, known }: Plan, sequence?: number): void {
    for (const [channel] of numbers) this._pending.set(channel, (this._pending.get(channel) ?? 0) + 1);
    const members: [string, unknown][] = numbers.map(([channel, number]) => [channel, number]);
    if (sequence !== undefined) members.push(['__seq', sequence]);
    members.push(['__pos', known]);
    this._send({ subscribe: Object.fromEntries(members) });
  }

  /** Leaves channels, and joins those that are new, or whose positions have changed; false where a new connection is needed. */
  change(positions: readonly Position[]): boolean {
    const channels = new Set(positions.map(({ channel }) => channel));
    const changed = positions.filter(({ reach, channel }) => reach === 'none' || !this._channels.includes(channel));
    const joined = new Set(changed.map(({ channel }) => channel));
    const plan = this._kit.planRequest(positions.filter(({ channel }) => joined.has(channel)));
    if (plan.lookUp || channels.size === 0) return false;
    const left = this._channels.filter((channel) => !channels.has(channel));
    if (left.length > 0) this._send({ unsubscribe: left });
    if (joined.size > 0) this.join(plan);
    this._channels = [...channels];
    return true;
  }

  /** Takes an array of the server. Throws where it makes no sense. */
  take(text: string): void {
    const part = this._kit.parsePart(text);
    const answers = part.filter(({ channel }) => channel === subscribedChannel);
    for (const { data } of answers) this._takeAnswer(data);
    const rest = part.filter(({ channel }) => channel !== subscribedChannel && !this._pending.has(channel));
    if (answers.length === 0 && rest.length === 0) return;
    this._run.take({ part: rest.map((message) => this._withoutPending(message)), first: answers.length > 0 });
  }

  private _takeAnswer(data: unknown): void {
    this.joined = true;
    const { channels = [], refused = [], epoch = '' } = data as { channels?: string[]; refused?: string[]; epoch?: string };
    for (const channel of [...channels, ...refused]) {
      const left = (this._pending.get(channel) ?? 1) - 1;
      if (left > 0) this._pending.set(channel, left);
      else this._pending.delete(channel);
    }
    this._run.take({ epoch, refused });
  }

  /** A status or a gap says nothing of channels that are being joined anew. */
  private _withoutPending(message: Message): Message {
    if (this._pending.size === 0 || message.globalId !== -1) return message;
    const members = Object.entries(message.data ?? {}).filter(([channel]) => !this._pending.has(channel));
    return { ...message, data: Object.fromEntries(members) };
  }

  private _send(command: unknown): void {
    this._socket.send(JSON.stringify(command));
  }
}
