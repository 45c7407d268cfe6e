import type { Kit } from './exchanges.ts';
import { Hub, randomName, type Said, type Told } from './hub.ts';
import type { Settings } from './options.ts';
import { again, type Exchange, type Run } from './transport.ts';

/**
 * Has all pages of a group use one connection: that of a page which they elect by a lock, or of a worker where
 * there are no locks. Where there is neither, this page has a connection of its own.
 */
export default function share(kit: Kit, settings: Settings): Exchange {
  const group = new Group(kit, settings);
  const exchange: Exchange = async (_, run) => {
    if (group.open()) return group.exchange(run);
    return kit.exchangeOf(run.mode === 'hold' ? settings.transport : 'poll')(settings, run);
  };
  exchange.leave = () => group.close();
  return exchange;
}

/** A hub says something every few seconds. One that is silent for so long hangs: a page that shows takes its place. */
const hubSilence = 15_000;

/** A page's part in its group. */
class Group {
  private readonly _kit: Kit;
  private readonly _settings: Settings;
  private readonly _page: string = randomName();
  private _channel: BroadcastChannel | undefined;
  private _worker: SharedWorker | undefined;
  private _hub: Hub | undefined;
  private _candidacy: AbortController | undefined;
  private _resign: (() => void) | undefined;
  private _silence: ReturnType<typeof setTimeout> | undefined;
  private _run: PageRun | undefined;
  private _runs = 0;

  constructor(kit: Kit, settings: Settings) {
    this._kit = kit;
    this._settings = settings;
  }

  /** Belongs to the lock, the channel and the worker of the group. */
  private get _name(): string {
    const { baseUrl, transport, identity = '' } = this._settings;
    return `messagebus ${JSON.stringify([new URL(baseUrl, location.href).href, transport, identity])}`;
  }

  /** Joins the group, unless that is done; false where the browser cannot. */
  open(): boolean {
    // What is no page has no tabs beside it.
    if (typeof document === 'undefined' || typeof BroadcastChannel === 'undefined') return false;
    if (this._channel) return true;
    if (!navigator.locks && !this._startWorker()) return false;
    this._channel = new BroadcastChannel(this._name);
    this._channel.onmessage = ({ data }) => {
      // Pages hear each other as well.
      if ('hub' in data) this._hear(data as Told);
    };
    this._watch(true);
    if (navigator.locks) void this._stand(false);
    this._sayShown();
    return true;
  }

  close(): void {
    if (!this._channel) return;
    this._watch(false);
    clearTimeout(this._silence);
    this._candidacy?.abort();
    this._candidacy = undefined;
    this._stopHub();
    this._channel.close();
    this._channel = this._worker = undefined;
  }

  exchange(run: Run): Promise<void> {
    this._runs += 1;
    const own = new PageRun(`${this._page}.${this._runs}`, run, (said) => this._channel?.postMessage(said));
    this._run = own;
    // The headers may fail.
    this._join(own).catch((cause) => own.finish(cause));
    return own.end;
  }

  private async _join({ id, run: { plan } }: PageRun): Promise<void> {
    const { headers, baseUrl, clientId, credentials, transport, timing } = this._settings;
    const forWorker = this._worker && {
      headers: typeof headers === 'function' ? await headers() : headers,
      settings: { baseUrl: new URL(baseUrl, location.href).href, credentials, transport, timing },
    };
    if (this._run?.id === id) this._say({ kind: 'join', run: id, fields: plan.numbers, marks: plan.known, clientId, ...forWorker });
  }

  private _say(said: Said): void {
    this._channel?.postMessage(said);
  }

  private _hear(told: Told): void {
    if (this._candidacy) this._awaitSilence();
    if (told.kind === 'yield' && told.page === this._page) void this._stand(true);
    if (told.kind === 'whoShows') this._sayShown();
    if (told.clientId !== '') this._settings.clientId = told.clientId;
    this._run?.hear(told, this._kit);
  }

  /** Tells a hub that a page shows, unless it is this page's own. */
  private _sayShown(): void {
    if (!document.hidden && !this._hub) this._say({ kind: 'shown', page: this._page });
  }

  // --- the election ---

  private _awaitSilence(): void {
    clearTimeout(this._silence);
    // Not all pages at once.
    this._silence = setTimeout(() => {
      if (!document.hidden) void this._stand(true);
      this._awaitSilence();
    }, hubSilence * (1 + Math.random() / 4));
  }

  /** Waits for its turn to have the connection, or takes it from a page that yields it. */
  private async _stand(steal: boolean): Promise<void> {
    if (this._hub) return;
    this._awaitSilence();
    this._candidacy?.abort();
    const candidacy = new AbortController();
    this._candidacy = candidacy;
    try {
      await navigator.locks.request(this._name, steal ? { steal } : { signal: candidacy.signal }, () => this._lead(candidacy));
    } catch {
      // Given up, or the lock was taken away.
    }
    if (this._candidacy !== candidacy) return;
    this._stopHub();
    if (!candidacy.signal.aborted) void this._stand(false);
  }

  private _lead(candidacy: AbortController): Promise<void> {
    if (candidacy.signal.aborted || this._candidacy !== candidacy) return Promise.resolve();
    this._hub = new Hub(this._kit, this._settings, this._name);
    if (document.hidden) this._hub.askWhoShows();
    return new Promise((resolve) => {
      this._resign = resolve;
    });
  }

  private _stopHub(): void {
    this._hub?.stop();
    this._hub = undefined;
    this._resign?.();
    this._resign = undefined;
  }

  private readonly _onPage = (event: Event): void => {
    if (event.type === 'visibilitychange') {
      if (document.hidden) this._hub?.askWhoShows();
      else this._sayShown();
    } else {
      // Until the next request, which joins again: a browser does not keep pages in memory that listen or hold a lock.
      this.close();
    }
  };

  private _watch(on: boolean): void {
    const change = on ? 'addEventListener' : 'removeEventListener';
    for (const type of ['visibilitychange', 'freeze']) document[change](type, this._onPage);
    globalThis[change]('pagehide', this._onPage);
  }

  private _startWorker(): boolean {
    try {
      this._worker ??= new SharedWorker(new URL('./share-worker.js', import.meta.url), { type: 'module', name: this._name });
      return true;
    } catch {
      return false;
    }
  }
}

/** What a page asks of the hub at present. */
class PageRun {
  readonly id: string;
  readonly run: Run;
  readonly end: Promise<void>;
  private readonly _say: (said: Said) => void;
  private _end!: (why: unknown) => void;
  private _over = false;
  private _hub = '';
  private _count = 0;
  private _first = true;

  constructor(id: string, run: Run, say: (said: Said) => void) {
    this.id = id;
    this.run = run;
    this._say = say;
    this.end = new Promise((resolve, reject) => {
      this._end = (why) => {
        this._over = true;
        if (why === undefined) resolve();
        else reject(why);
      };
    });
    run.controller.signal.addEventListener('abort', () => this.finish());
  }

  hear(told: Told, { BusError }: Kit): void {
    if (this._over) return;
    if (told.kind === 'up' || this._lost(told)) {
      // What comes next would not follow what is known here, so the hub is asked anew.
      this.finish(again);
      return;
    }
    switch (told.kind) {
      case 'parts':
        if (told.runs.includes(this.id)) this._take(told.parts, told.epoch);
        break;
      case 'refused':
        if (told.runs.includes(this.id)) this.run.take({ refused: told.channels });
        break;
      case 'error':
        this.run.take({ error: new BusError(told.code, told.message, told.status === undefined ? {} : { status: told.status }) });
        break;
      case 'ping':
        if (told.runs.includes(this.id)) this._say({ kind: 'here', run: this.id });
        else this.finish(again);
        break;
    }
  }

  /** Whether something that the hub has said was not heard, or another hub speaks. */
  private _lost({ hub, count }: Told): boolean {
    const lost = this._hub !== '' && (hub !== this._hub || count !== this._count + 1);
    this._hub = hub;
    this._count = count;
    return lost;
  }

  private _take(parts: Extract<Told, { kind: 'parts' }>['parts'], epoch: string): void {
    this.run.take({ epoch });
    for (const part of parts) {
      if (this._over) return;
      this.run.take({ part, first: this._first });
      this._first = false;
    }
    if (this.run.mode === 'lookUp') this.finish();
  }

  /** Ends it: well, or for a reason as an exchange has it. */
  finish(why?: unknown): void {
    if (this._over) return;
    this._say({ kind: 'leave', run: this.id });
    this._end(why);
  }
}
