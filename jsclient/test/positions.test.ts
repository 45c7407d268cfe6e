import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planRequest } from '../src/plan.ts';
import { beginAt, type Position } from '../src/positions.ts';
import type { From } from '../src/types.ts';
import { between, seededRandom } from './random.ts';

function asked(positions: Position[]): object {
  const { numbers, lookUp } = planRequest(positions);
  return { numbers, lookUp };
}

function planned(...positions: Position[]): Position[] {
  planRequest(positions);
  return positions;
}

function at(from: From): Position {
  const position = beginAt('/a', from);
  planRequest([position]);
  return position;
}

test('Position turns where to start into the number on the wire', () => {
  assert.equal(beginAt('/a', 'latest').wire, -1);
  assert.equal(beginAt('/a', 0).wire, 0);
  assert.equal(beginAt('/a', 17).wire, 17);
  assert.equal(beginAt('/a', { last: 1 }).wire, -2);
  assert.equal(beginAt('/a', { last: 5 }).wire, -6);
});

test('Position refuses anything else and says what it takes', () => {
  for (const from of [-1, 1.5, NaN, 2 ** 53, '5', null, { last: 0 }, { last: -1 }, {}, true] as From[]) {
    assert.throws(() => beginAt('/a', from), /^TypeError: from is .*; it must be 'latest', an id/);
  }
});

test('Position takes each message once and drops what came before', () => {
  const position = at(10);
  assert.equal(position.advance(11, 100).moved, true);
  assert.equal(position.advance(11, 100).moved, false);
  assert.equal(position.advance(15, 120).moved, true);
  assert.equal(position.advance(11, 100).moved, false);
  assert.equal(position.wire, 15);
});

test('Position takes ids that start again under a higher global id, and tells of the gap', () => {
  const position = at(10);
  position.advance(11, 100);
  assert.deepEqual(position.advance(1, 200), {
    moved: true,
    gap: { channel: '/a', after: 11, next: 1, reason: 'reset' },
  });
  assert.equal(position.wire, 1);
  assert.deepEqual(position.advance(2, 201), { moved: true });
});

test('Position drops messages from before the ids started again, although their ids are higher', () => {
  const position = at(77);
  for (const [id, globalId] of [[78, 898], [79, 899], [80, 900], [1, 1000]] as const) position.advance(id, globalId);
  planRequest([position]);
  assert.equal(position.advance(78, 898).moved, false);
  assert.equal(position.advance(80, 900).moved, false);
  assert.deepEqual(position.advance(2, 1001), { moved: true });
  position.advance(1, 1100);
  assert.equal(position.advance(79, 899).moved, false);
  assert.equal(position.advance(2, 1001).moved, false);
});

test('Position takes a higher id under a lower global id, which only another store can send, and tells of the gap', () => {
  const position = at(79);
  position.advance(80, 900);
  assert.deepEqual(position.advance(81, 500).gap, { channel: '/a', after: 80, next: 81, reason: 'reset' });
  assert.deepEqual(position.advance(82, 501), { moved: true });
});

test('Position forgets what came before its ids started again once the messages are from another store', () => {
  const position = at(79);
  for (const [id, globalId] of [[80, 900], [1, 1000], [81, 500]] as const) assert.equal(position.advance(id, globalId).moved, true);
  assert.equal(position.advance(1, 600).moved, true);
});

test('Position goes to the last id of a status, and past what was withheld', () => {
  const position = at('latest');
  assert.deepEqual(position.settle(40), { moved: true });
  assert.equal(position.wire, 40);
  position.advance(41, 100);
  assert.deepEqual(position.settle(45), { moved: true });
  assert.equal(position.wire, 45);
  assert.deepEqual(position.settle(45), { moved: false });
});

test('Position goes back with a status, tells of the gap, and then takes what the new store sends', () => {
  const position = at(79);
  position.advance(80, 900);
  assert.deepEqual(position.settle(3), {
    moved: true,
    gap: { channel: '/a', after: 80, next: 4, reason: 'reset' },
  });
  assert.deepEqual(position.advance(4, 12), { moved: true });
  assert.equal(position.advance(4, 12).moved, false);
});

test('Position starts again where the server reports a reset', () => {
  const position = at(79);
  position.advance(80, 900);
  position.leap({ after: 80, next: 1, reason: 'reset' });
  assert.deepEqual(position.advance(1, 1), { moved: true });
  assert.equal(position.advance(1, 1).moved, false);
});

test('Position is deaf before the first request that asks for it', () => {
  const position = beginAt('/a', 5);
  assert.equal(position.advance(6, 60).moved, false);
  assert.equal(position.settle(9).moved, false);
  assert.equal(position.endBacklog(), false);
  position.leap({ after: 5, next: 1, reason: 'reset' });
  assert.equal(position.wire, 5);
});

test('planRequest carries the lowest id of a channel, and the others drop what they do not need', () => {
  const early = beginAt('/a', 30);
  const late = beginAt('/a', 50);
  assert.deepEqual(asked([late, early]), { numbers: [['/a', 30]], lookUp: false });
  assert.equal(early.advance(31, 310).moved, true);
  assert.equal(late.advance(31, 310).moved, false);
  assert.equal(early.advance(51, 510).moved, true);
  assert.equal(late.advance(51, 510).moved, true);
});

test('planRequest keeps the order in which channels were first subscribed', () => {
  const positions = ['/b', '/a', '/b', '/10', '/2'].map((channel, index) => beginAt(channel, index));
  const { numbers } = planRequest(positions);
  assert.deepEqual(numbers, [['/b', 0], ['/a', 1], ['/10', 3], ['/2', 4]]);
});

test('planRequest looks up a position without an id alone, where its channel has others', () => {
  const [behind, latest, tail] = planned(beginAt('/a', 5), beginAt('/a', 'latest'), beginAt('/a', { last: 2 }));
  assert.ok(behind && latest && tail);
  assert.deepEqual(asked([behind, latest, tail]), { numbers: [['/a', -1]], lookUp: true });
  latest.settle(9);
  behind.settle(9);
  tail.settle(9);
  assert.deepEqual(asked([behind, latest, tail]), { numbers: [['/a', -3]], lookUp: true });
  for (const position of [behind, latest, tail]) position.advance(8, 80);
  for (const position of [behind, latest, tail]) position.advance(9, 90);
  assert.deepEqual(asked([behind, latest, tail]), { numbers: [['/a', 5]], lookUp: false });
  assert.deepEqual([behind.wire, latest.wire, tail.wire], [5, 9, 9]);
});

test('Position finds out where an empty tail stands, so that a burst afterwards is not cut to the tail', () => {
  const tail = at({ last: 2 });
  assert.equal(tail.endBacklog(), true);
  assert.deepEqual(asked([tail]), { numbers: [['/a', -1]], lookUp: true });
  tail.settle(7);
  assert.equal(tail.endBacklog(), false);
  assert.deepEqual(asked([tail]), { numbers: [['/a', -3]], lookUp: false });
  assert.equal(tail.endBacklog(), true);
  assert.equal(tail.wire, 7);
});

/** A channel of a server, in the order of publishing. */
class Channel {
  readonly stored: { readonly id: number; readonly globalId: number }[] = [];
  globalId = 0;
  id = 0;

  publish(random: () => number): void {
    this.globalId += between(random, 1, 3);
    this.id += between(random, 1, 2);
    this.stored.push({ id: this.id, globalId: this.globalId });
  }

  /** What a request gets before anything new: messages, and a last id where the server sends a status. */
  backlog(carried: number): { messages: Channel['stored']; status?: number } {
    if (carried === -1) return { messages: [], status: this.id };
    if (carried < -1) return { messages: this.stored.slice(carried + 1) };
    return { messages: this.stored.filter(({ id }) => id > carried) };
  }
}

interface Reader {
  readonly position: Position;
  readonly from: From;
  /** How many messages there were when it subscribed. */
  readonly subscribedAt: number;
  readonly taken: number[];
}

function subscribe(channel: Channel, random: () => number): Reader {
  const from = [
    'latest' as const,
    { last: between(random, 1, 4) },
    channel.stored[between(random, 0, channel.stored.length - 1)]?.id ?? 0,
    0,
  ][between(random, 0, 3)] as From;
  return { position: beginAt('/a', from), from, subscribedAt: channel.stored.length, taken: [] };
}

function hand(readers: readonly Reader[], message: { id: number; globalId: number }): void {
  for (const { position, taken } of readers) {
    if (position.advance(message.id, message.globalId).moved) taken.push(message.globalId);
  }
}

/** One request: the backlog, then some live messages, some sent twice, until it breaks off anywhere. */
function runRequest(channel: Channel, readers: readonly Reader[], random: () => number): void {
  const [field] = planRequest(readers.map(({ position }) => position)).numbers;
  if (!field || random() < 0.1) return;
  const { messages, status } = channel.backlog(field[1]);
  for (const message of messages) hand(readers, message);
  if (status !== undefined) for (const { position } of readers) position.settle(status);
  for (const { position } of readers) position.endBacklog();
  for (let live = between(random, 0, 4); live > 0; live--) {
    channel.publish(random);
    for (const message of channel.stored.slice(-between(random, 1, 3))) {
      // A status has no global id, so that an exact repeat right behind it cannot be told from a new message.
      if (message === channel.stored.at(-1) || messages.includes(message)) hand(readers, message);
    }
  }
}

function expectedStart(channel: Channel, { from, subscribedAt }: Reader): readonly [number, number] {
  if (from === 'latest') return [subscribedAt, Number.POSITIVE_INFINITY];
  if (typeof from === 'object') return [Math.max(0, subscribedAt - (from as { last: number }).last), Number.POSITIVE_INFINITY];
  const first = channel.stored.filter(({ id }) => id <= from).length;
  return [first, first];
}

test('Positions take every message from their start on, once and in order, over any requests', () => {
  for (let seed = 1; seed <= 2_000; seed++) {
    const random = seededRandom(seed);
    const channel = new Channel();
    const readers: Reader[] = [];
    for (let step = 0; step < 30; step++) {
      const dice = random();
      if (dice < 0.3) channel.publish(random);
      else if (dice < 0.5 && readers.length < 4) readers.push(subscribe(channel, random));
      else runRequest(channel, readers, random);
    }
    // Enough quiet requests for every position to be looked up and to catch up.
    for (let settling = 0; settling < 12; settling++) {
      const { numbers } = planRequest(readers.map(({ position }) => position));
      const { messages, status } = channel.backlog(numbers[0]?.[1] ?? 0);
      for (const message of messages) hand(readers, message);
      if (status !== undefined) for (const { position } of readers) position.settle(status);
      for (const { position } of readers) position.endBacklog();
    }
    const all = channel.stored.map(({ globalId }) => globalId);
    for (const reader of readers) {
      const start = all.length - reader.taken.length;
      assert.deepEqual(reader.taken, all.slice(start), `seed ${seed}: not the newest without holes`);
      const [least, most] = expectedStart(channel, reader);
      assert.ok(start >= least && start <= most, `seed ${seed}: from ${JSON.stringify(reader.from)} began at ${start}`);
      assert.equal(reader.position.wire < 0 ? channel.id : reader.position.wire, channel.id, `seed ${seed}`);
    }
  }
});

test('Positions take every live message once and in order while ids start again', () => {
  for (let seed = 1; seed <= 500; seed++) {
    const random = seededRandom(seed);
    const channel = new Channel();
    const position = at(0);
    const taken: number[] = [];
    for (let step = 0; step < 60; step++) {
      if (random() < 0.1) channel.id = 0;
      channel.publish(random);
      const repeats = channel.stored.slice(-between(random, 1, 12)).reverse();
      for (const { id, globalId } of repeats) if (position.advance(id, globalId).moved) taken.push(globalId);
    }
    assert.deepEqual(taken, channel.stored.map(({ globalId }) => globalId), `seed ${seed}`);
  }
});

test('a message that the store has got late is taken once, and the position stays', () => {
  const position = at(10);
  assert.equal(position.advance(12, 120).moved, true);
  assert.deepEqual(position.advance(11, 110, 12), { moved: true, late: true });
  assert.equal(position.wire, 12);
  assert.equal(position.advance(11, 110, 12).moved, false);
  assert.equal(position.advance(13, 130).moved, true);
});

test('what is read again for another subscription is not taken for late', () => {
  const [behind, ahead] = planned(at(5), at(20));
  assert.equal(ahead?.advance(6, 60, 20).moved, false);
  assert.equal(behind?.advance(6, 60).moved, true);
  ahead?.endBacklog();
  assert.deepEqual(ahead?.advance(15, 150, 20), { moved: true, late: true });
  ahead?.advance(23, 230);
  assert.deepEqual(ahead?.advance(22, 220, 23), { moved: true, late: true });
});

test('__pos names the global id of a position in the life of the store that it is from, whatever they are called', () => {
  const positions = [beginAt('/0', { id: 7, globalId: 70, epoch: '__proto__' }), beginAt('/1', 3), beginAt('/2', 'latest')];
  planRequest(positions);
  for (const position of positions) position.meet('e1');
  const { known } = planRequest(positions);
  assert.equal(known, '~{"__proto__":{"/0":70},"e1":{"/1":0}}');
  assert.equal(({} as Record<string, unknown>)['/0'], undefined);
});
