import type { Entry, Owner } from './answer.ts';
import type { Engine } from './engine.ts';
import type { Kit } from './exchanges.ts';
import type { ErrorCode, MessageBusError } from './errors.ts';
import type { Settings } from './options.ts';
import type { Position } from './positions.ts';
import type { Gap, Message } from './types.ts';
import { gapChannel, statusChannel } from './wire.ts';

/** What pages say to the one that has the connection. */
export type Said =
  | {
      readonly kind: 'join';
      readonly run: string;
      readonly fields: readonly (readonly [string, number])[];
      readonly marks: string;
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
  | { readonly kind: 'parts'; readonly runs: readonly string[]; readonly parts: readonly (readonly Message[])[]; readonly epoch: string }
  | { readonly kind: 'refused'; readonly runs: readonly string[]; readonly channels: readonly string[] }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string; readonly status: number | undefined }
  | { readonly kind: 'ping'; readonly runs: readonly string[] }
  | { readonly kind: 'yield'; readonly page: string }
);

type Telling = Told extends infer T ? (T extends Told ? Omit<T, 'hub' | 'count' | 'clientId'> : never) : never;

/**
 * Names a page, or a hub, as no other of its group is named. Not by `Math.random`, which pages seed, or replace: of two
 * with one name, one would get what is for the other.
 */
export function randomName(): string {
  return crypto.getRandomValues(new Uint32Array(3)).join('-');
}

/** A page's run, seen from the hub. */
interface HubRun {
  readonly id: string;
  readonly entries: HubEntry[];
  /** The channels that the page asked for without knowing where they stand. */
  readonly unknown: ReadonlySet<string>;
  /** What has not been told yet. */
  parts: Message[][];
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
  readonly id: string = randomName();
  private readonly _kit: Kit;
  private readonly _settings: Settings;
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
    this._settings = { ...settings, share: false };
    const held = kit.exchangeOf(settings.transport);
    // Counted from the time, so that the requests of a hub that is gone are the older ones to the server.
    this._engine = kit.createEngine(this._settings, this._owner(), held, kit.exchangeOf('poll'), Date.now());
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
      emit: (event, value, entries = []) => {
        if (event === 'gap') this._gap(value as Gap, entries);
        if (event === 'refused') this._refuse(value as readonly string[], [...this._runs.keys()]);
        if (event === 'error') {
          const { code, message, status } = value as MessageBusError;
          this._tell({ kind: 'error', code, message, status });
        }
      },
      taken: (first) => {
        if (first) for (const entry of this._engine.subscriptions) entry.answered ||= entry.position.reach !== 'none';
        this._flush();
      },
    };
  }

  private _gap(gap: Gap, entries: readonly HubEntry[]): void {
    const epoch = entries.find(({ position }) => position.reach !== 'none')?.position.epoch;
    const message = serverMessage(gapChannel, { [gap.channel]: { ...gap, epoch } });
    for (const run of new Set(entries.map((entry) => entry.run))) lastOf(run.parts).push(message);
  }

  private _refuse(channels: readonly string[], runs: readonly string[]): void {
    for (const channel of channels) this._refused.add(channel);
    if (channels.length > 0) this._tell({ kind: 'refused', runs, channels });
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
    const epochs = Object.entries(JSON.parse(marks.slice(1)) as Record<string, Record<string, number>>);
    for (const [channel, number] of fields) {
      const [epoch, globalIds] = epochs.find(([, ids]) => Object.hasOwn(ids, channel)) ?? [];
      const entry = { position: new this._kit.Place(channel, number, globalIds?.[channel], epoch), run, answered: false };
      run.entries.push(entry);
      this._engine.add(entry, this._engine.subscriptions.some((other) => joins(entry.position, other.position)));
    }
    this._refuse(run.entries.map(({ position }) => position.channel).filter((channel) => this._refused.has(channel)), [id]);
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
    const groups: { runs: string[]; parts: Message[][] }[] = [];
    for (const run of this._runs.values()) {
      const parts = this._takeParts(run);
      if (parts.length === 0) continue;
      const group = groups.find((other) => sameParts(other.parts, parts));
      if (group) group.runs.push(run.id);
      else groups.push({ runs: [run.id], parts });
    }
    for (const group of groups) this._tell({ kind: 'parts', ...group, epoch: this._epochOf(group.runs[0]!) });
  }

  private _takeParts(run: HubRun): Message[][] {
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
    return answered || this._refused.has(position.channel) || (position.reach !== 'none' && position.wire >= 0);
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
    this._channel.postMessage({ hub: this.id, count: this._count, clientId: this._settings.clientId, ...telling });
  }
}

/** Has a position take part in what is under way for another one of its channel, at the same place. Returns whether it is one. */
function joins(position: Position, other: Position): boolean {
  const { channel, wire, reach, had, globalId, epoch } = other;
  if (reach === 'none' || channel !== position.channel || wire !== position.wire || wire < 0) return false;
  Object.assign(position, { reach, had, globalId, epoch });
  return true;
}

function lastOf(parts: Message[][]): Message[] {
  return parts[parts.length - 1]!;
}

function serverMessage(channel: string, data: unknown): Message {
  return { channel, id: -1, globalId: -1, data };
}

function statusOf(data: Record<string, number>): Message {
  return serverMessage(statusChannel, data);
}

function sameParts(a: readonly Message[][], b: readonly Message[][]): boolean {
  return a.length === b.length && a.every((part, i) => part.length === b[i]!.length && part.every((message, j) => message === b[i]![j]));
}
