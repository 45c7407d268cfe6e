import type { Engine, Entry, Owner } from './engine.ts';
import type { Kit } from './client.ts';
import type { Settings } from './options.ts';
import type { Position } from './positions.ts';
import { gapChannel, statusChannel, type WireMessage } from './wire.ts';

/** What pages say to the one that has the connection. */
export type Said =
  | {
      readonly kind: 'join';
      readonly run: string;
      readonly fields: readonly (readonly [string, number])[];
      readonly marks: Readonly<Record<string, Readonly<Record<string, number>>>>;
      readonly clientId: string;
      /** What a worker cannot know by itself. */
      readonly headers?: Readonly<Record<string, string>>;
      readonly settings?: Partial<Settings>;
    }
  | { readonly kind: 'leave'; readonly run: string }
  | { readonly kind: 'here'; readonly run: string }
  | { readonly kind: 'shown'; readonly page: string };

/** What the one with the connection says. `count` numbers all that a hub says, from 1. */
export type Told = { readonly hub: string; readonly count: number; readonly clientId: string } & (
  | { readonly kind: 'up' | 'whoShows' }
  | { readonly kind: 'parts'; readonly runs: readonly string[]; readonly parts: readonly (readonly WireMessage[])[]; readonly epoch: string }
  | { readonly kind: 'refused'; readonly runs: readonly string[]; readonly channels: readonly string[] }
  | { readonly kind: 'error'; readonly code: 'request' | 'refused' | 'answer'; readonly message: string; readonly status: number | undefined }
  | { readonly kind: 'ping'; readonly runs: readonly string[] }
  | { readonly kind: 'yield'; readonly page: string }
);

type Telling = Told extends infer T ? (T extends Told ? Omit<T, 'hub' | 'count' | 'clientId'> : never) : never;

/** A page's run, seen from the hub. */
interface HubRun {
  readonly id: string;
  readonly entries: HubEntry[];
  /** The channels that the page asked for without knowing where they stand. */
  readonly unknown: ReadonlySet<string>;
  /** What has not been told yet. */
  parts: WireMessage[][];
  told: boolean;
  missedPings: number;
}

interface HubEntry extends Entry {
  readonly position: Position;
  readonly run: HubRun;
  /** The server has answered with what it had of the channel. */
  answered: boolean;
}

const pingInterval = 5_000;
/** A page that has not answered so many is gone, or frozen: it joins again when it is back. */
const mostMissedPings = 12;

/**
 * Has the connection of all pages of a group. To each page it is what a server is: it takes the channels and
 * ids that the page asks for, and answers with arrays of messages.
 */
export class Hub {
  readonly id: string = Math.random().toString(36).slice(2);
  private readonly _kit: Kit;
  private readonly _channel: BroadcastChannel;
  private readonly _engine: Engine<HubEntry>;
  private readonly _runs = new Map<string, HubRun>();
  private readonly _refused = new Set<string>();
  private _count = 0;
  private _epoch = '';
  private _pings: ReturnType<typeof setTimeout> | undefined;

  constructor(kit: Kit, settings: Settings, name: string) {
    this._kit = kit;
    this._channel = new BroadcastChannel(name);
    this._channel.onmessage = ({ data }) => this._hear(data as Said);
    const own = { ...settings, share: false };
    // Counted from the time, so that the requests of a hub that is gone are the older ones to the server.
    this._engine = new kit.Engine<HubEntry>(own, this._owner(), kit.heldBy(own.transport), kit.exchangeHttp, Date.now());
    this._engine.start();
    this._tell({ kind: 'up' });
    this._ping();
  }

  stop(): void {
    clearTimeout(this._pings);
    this._engine.stop();
    this._channel.close();
  }

  /** Asks for a page that shows, to which a hub that does not can yield. */
  askWhoShows(): void {
    this._tell({ kind: 'whoShows' });
  }

  private _owner(): Owner<HubEntry> {
    return {
      deliver: ({ position, run }, message, late) => {
        if (late) run.parts.push([message, statusOf({ [message.channel]: position.wire })], []);
        else lastOf(run.parts).push(message);
      },
      gap: (gap, entries) => {
        const message = serverMessage(gapChannel, { [gap.channel]: gap });
        for (const run of new Set(entries.map((entry) => entry.run))) lastOf(run.parts).push(message);
      },
      taken: (first) => {
        if (first) for (const entry of this._engine.entries) entry.answered ||= entry.position.aimed;
        this._flush();
      },
      refused: (channels) => {
        for (const channel of channels) this._refused.add(channel);
        this._tell({ kind: 'refused', runs: [...this._runs.keys()], channels });
      },
      status: () => {},
      error: ({ code, message, status }) => {
        if (code !== 'callback') this._tell({ kind: 'error', code, message, status });
      },
    };
  }

  private _hear(said: Said): void {
    if (said.kind === 'join') this._join(said);
    else if (said.kind === 'leave') this._leave(said.run);
    else if (said.kind === 'here') this._answered(said.run);
    else this._hearThatShows(said.page);
  }

  private _hearThatShows(page: string): void {
    if (typeof document !== 'undefined' && document.hidden) this._tell({ kind: 'yield', page });
    else this._engine.hurry();
  }

  private _join({ run: id, fields, marks }: Said & { kind: 'join' }): void {
    const unknown = new Set(fields.filter(([, number]) => number < 0).map(([channel]) => channel));
    const run: HubRun = { id, entries: [], unknown, parts: [[]], told: false, missedPings: 0 };
    this._runs.set(id, run);
    for (const [channel, number] of fields) {
      const epoch = Object.keys(marks).find((name) => marks[name]?.[channel] !== undefined) ?? '';
      const entry = { position: new this._kit.Position(channel, number, marks[epoch]?.[channel], epoch), run, answered: false };
      run.entries.push(entry);
      this._engine.add(entry);
    }
    this._flush();
  }

  private _leave(id: string): void {
    if (this._runs.delete(id)) this._engine.remove(({ run }) => run.id === id);
  }

  private _answered(id: string): void {
    const run = this._runs.get(id);
    if (run) run.missedPings = 0;
  }

  /** Tells every run what is new to it: those to which the same is new, in one. */
  private _flush(): void {
    const groups: { runs: string[]; parts: WireMessage[][] }[] = [];
    for (const run of this._runs.values()) {
      const parts = this._takeParts(run);
      if (parts.length === 0) continue;
      const group = groups.find((other) => sameParts(other.parts, parts));
      if (group) group.runs.push(run.id);
      else groups.push({ runs: [run.id], parts });
    }
    for (const group of groups) this._tell({ kind: 'parts', ...group, epoch: this._epochOf(group.runs[0]!) });
  }

  private _takeParts(run: HubRun): WireMessage[][] {
    const parts = run.parts.filter((part) => part.length > 0);
    if (!run.told) {
      if (!run.entries.every((entry) => this._isKnown(entry))) return [];
      run.told = true;
      // The first part has the backlog, and a status for what the page could not know.
      const first = parts.shift() ?? [];
      const stands = run.entries.filter(({ position: { channel, wire } }) => run.unknown.has(channel) && wire >= 0);
      if (stands.length > 0) first.push(statusOf(Object.fromEntries(stands.map(({ position: { channel, wire } }) => [channel, wire]))));
      parts.unshift(first);
    }
    run.parts = [[]];
    return parts;
  }

  /** Whether the page may be told: of the newest k of an empty channel it is not known yet where that stands. */
  private _isKnown({ position, answered }: HubEntry): boolean {
    return answered || this._refused.has(position.channel) || (position.aimed && position.wire >= 0);
  }

  private _epochOf(runId: string): string {
    const known = this._runs.get(runId)?.entries.find(({ position }) => position.epoch !== '');
    return known ? (this._epoch = known.position.epoch) : this._epoch;
  }

  private _ping(): void {
    this._pings = setTimeout(() => {
      for (const run of this._runs.values()) {
        run.missedPings += 1;
        if (run.missedPings > mostMissedPings) this._leave(run.id);
      }
      this._tell({ kind: 'ping', runs: [...this._runs.keys()] });
      this._ping();
    }, pingInterval);
  }

  private _tell(telling: Telling): void {
    this._count += 1;
    this._channel.postMessage({ hub: this.id, count: this._count, clientId: this._engine.clientId, ...telling });
  }
}

function lastOf(parts: WireMessage[][]): WireMessage[] {
  return parts[parts.length - 1]!;
}

function serverMessage(channel: string, data: unknown): WireMessage {
  return { global_id: -1, message_id: -1, channel, data };
}

function statusOf(data: Record<string, number>): WireMessage {
  return serverMessage(statusChannel, data);
}

function sameParts(a: readonly WireMessage[][], b: readonly WireMessage[][]): boolean {
  return a.length === b.length && a.every((part, i) => part.length === b[i]!.length && part.every((message, j) => message === b[i]![j]));
}
