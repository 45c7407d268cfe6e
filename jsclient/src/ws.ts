import type { Kit } from './client.ts';
import type { MessageBusError } from './errors.ts';
import type { Plan } from './positions.ts';
import type { Exchange, Outcome, Receiver } from './transport.ts';
import { entriesOf, type WireMessage } from './wire.ts';

/** Names the channels of a subscription, before their backlog. */
const subscribedChannel = '/__subscribed';

const replaced = 1000;
const goingAway = 1001;

/** One WebSocket for all channels, which come and go on it. */
export function ws(kit: Kit): Exchange {
  return (settings, poll, controller, receiver) =>
    new Promise((resolve) => {
      const url = `${settings.baseUrl}message-bus/${poll.clientId}/ws`;
      const socket = new WebSocket(new URL(url, globalThis.location?.href).href.replace(/^http/, 'ws'));
      const link = new Link(kit, socket, receiver);
      const timer = setTimeout(() => socket.close(), settings.timing.silenceTimeout);
      const end = (outcome: Outcome): void => {
        clearTimeout(timer);
        socket.onclose = socket.onmessage = null;
        socket.close();
        resolve(outcome);
      };
      controller.signal.addEventListener('abort', () => end({ kind: 'answered' }));
      socket.onopen = () => {
        link.join(poll.plan, poll.sequence);
        receiver.changeBy((left, joined) => link.change(left, joined));
      };
      socket.onmessage = ({ data }) => {
        clearTimeout(timer);
        const error = link.take(String(data));
        if (error) end({ kind: 'failed', error });
      };
      socket.onclose = ({ code, reason }) => end(outcomeOf(kit, code, reason, link.joined));
    });
}

function outcomeOf({ MessageBusError }: Kit, code: number, reason: string, joined: boolean): Outcome {
  if (joined && (code === replaced || code === goingAway)) return { kind: 'answered' };
  return { kind: 'failed', error: new MessageBusError('request', `the WebSocket ended with ${code} ${reason}`.trim()) };
}

/** What is said on one WebSocket. */
class Link {
  /** Whether the server has answered a subscription. */
  joined = false;
  private readonly _kit: Kit;
  private readonly _socket: WebSocket;
  private readonly _receiver: Receiver;
  /** How many answers are to come for a channel: what comes of it before the last one is of an earlier subscription. */
  private readonly _pending = new Map<string, number>();

  constructor(kit: Kit, socket: WebSocket, receiver: Receiver) {
    this._kit = kit;
    this._socket = socket;
    this._receiver = receiver;
  }

  join(plan: Plan, sequence?: number): void {
    for (const [channel] of plan.fields) this._pending.set(channel, (this._pending.get(channel) ?? 0) + 1);
    const members: [string, unknown][] = [...plan.fields.map(([channel, number]): [string, unknown] => [channel, number])];
    if (sequence !== undefined) members.push(['__seq', sequence]);
    members.push(['__pos', this._kit.encodeMarks(plan)]);
    this._send({ subscribe: Object.fromEntries(members) });
  }

  change(left: readonly string[], joined: Plan): void {
    if (left.length > 0) this._send({ unsubscribe: left });
    if (joined.fields.length > 0) this.join(joined);
  }

  /** Takes an array of the server. Returns what is wrong with it. */
  take(text: string): MessageBusError | undefined {
    let part: WireMessage[];
    try {
      part = this._kit.parsePart(text);
    } catch (error) {
      return error as MessageBusError;
    }
    const answers = part.filter(({ channel }) => channel === subscribedChannel);
    for (const { data } of answers) this._takeAnswer(data);
    const rest = part.filter(({ channel }) => channel !== subscribedChannel && !this._pending.has(channel));
    if (answers.length === 0 && rest.length === 0) return undefined;
    this._receiver.part(rest.map((message) => this._withoutPending(message)), answers.length > 0);
    return undefined;
  }

  private _takeAnswer(data: unknown): void {
    this.joined = true;
    const { channels = [], refused = [], epoch } = data as { channels?: string[]; refused?: string[]; epoch?: string };
    for (const channel of [...channels, ...refused]) {
      const left = (this._pending.get(channel) ?? 1) - 1;
      if (left > 0) this._pending.set(channel, left);
      else this._pending.delete(channel);
    }
    if (epoch) this._receiver.epoch(epoch);
    if (refused.length > 0) this._receiver.refused(refused);
  }

  /** A status or a gap says nothing of channels that are being joined anew. */
  private _withoutPending(message: WireMessage): WireMessage {
    if (this._pending.size === 0 || message.global_id !== -1) return message;
    return { ...message, data: Object.fromEntries(entriesOf(message.data).filter(([channel]) => !this._pending.has(channel))) };
  }

  private _send(command: unknown): void {
    this._socket.send(JSON.stringify(command));
  }
}
