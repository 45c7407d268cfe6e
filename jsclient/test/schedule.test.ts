import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveOptions } from '../src/options.ts';
import { Schedule, type Mode, type Result } from '../src/schedule.ts';
import { parseRetryAfter } from '../src/transport.ts';

const { timing } = resolveOptions({});
const failed: Result = { kind: 'failed' };

function delay(result: Result, mode: Mode, elapsed: number, random = 0.5): number {
  return new Schedule(timing, () => random).next(result, mode, elapsed);
}

test('Schedule goes on soon after a held request, with or without messages', () => {
  assert.equal(delay({ kind: 'moved' }, 'hold', 5), 100);
  assert.equal(delay({ kind: 'quiet' }, 'hold', 25_000), 100);
  assert.equal(delay({ kind: 'quiet' }, 'hold', 1_000), 100);
});

test('Schedule waits for the interval when a request that should be held was answered at once with nothing', () => {
  assert.equal(delay({ kind: 'quiet' }, 'hold', 400), 14_600);
});

test('Schedule counts the interval of requests that are not held from their start', () => {
  assert.equal(delay({ kind: 'moved' }, 'poll', 400), 14_600);
  assert.equal(delay({ kind: 'quiet' }, 'poll', 20_000), 100);
  assert.equal(delay({ kind: 'moved' }, 'hidden', 400), 59_600);
});

test('Schedule goes on soon after a look-up that found something, and not after one that did not', () => {
  assert.equal(delay({ kind: 'moved' }, 'lookUp', 5), 100);
  assert.equal(delay({ kind: 'quiet' }, 'lookUp', 5), 14_995);
});

test('Schedule goes on soon when a proxy kept the answer back', () => {
  assert.equal(delay({ kind: 'buffered' }, 'hold', 3_000), 100);
});

test('Schedule doubles the greatest wait at each failure, up to the longest interval', () => {
  const schedule = new Schedule(timing, () => 0.999999);
  const waits = Array.from({ length: 10 }, () => Math.round(schedule.next(failed, 'hold', 5) / 1000));
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
});

test('Schedule spreads the wait after a failure over the whole range', () => {
  const schedule = new Schedule(timing, () => 0.25);
  const waits = Array.from({ length: 4 }, () => schedule.next(failed, 'hold', 5));
  assert.deepEqual(waits, [250, 500, 1_000, 2_000]);
  assert.equal(delay(failed, 'hold', 5, 0), 100);
});

test('Schedule never overflows, however many failures there were', () => {
  const schedule = new Schedule(timing, () => 0.5);
  for (let failure = 0; failure < 2_000; failure++) schedule.next(failed, 'hold', 5);
  assert.equal(schedule.next(failed, 'hold', 5), 90_000);
});

test('Schedule forgets failures after a good answer, and after a connection that held', () => {
  const schedule = new Schedule(timing, () => 0.5);
  for (let failure = 0; failure < 5; failure++) schedule.next(failed, 'hold', 5);
  schedule.next({ kind: 'quiet' }, 'hold', 5);
  assert.equal(schedule.next(failed, 'hold', 5), 500);
  schedule.next(failed, 'hold', 5);
  assert.equal(schedule.next(failed, 'hold', 20_000), 500);
});

test('Schedule never comes back before the server wants it, and an hour later at most', () => {
  assert.equal(delay({ kind: 'refused', retryAfter: 30_000 }, 'hold', 5, 0), 30_000);
  assert.equal(delay({ kind: 'refused', retryAfter: 30_000 }, 'hold', 5, 0.5), 31_500);
  assert.equal(delay({ kind: 'refused', retryAfter: 0 }, 'hold', 5), 100);
  assert.equal(delay({ kind: 'refused', retryAfter: 1e15 }, 'hold', 5, 0), 3_600_000);
});

test('parseRetryAfter reads seconds and dates', () => {
  const now = Date.parse('2024-05-01T10:00:00Z');
  assert.equal(parseRetryAfter('7', now), 7_000);
  assert.equal(parseRetryAfter('Wed, 01 May 2024 10:00:20 GMT', now), 20_000);
  assert.equal(parseRetryAfter('Wed, 01 May 2024 09:00:00 GMT', now), 0);
  assert.equal(parseRetryAfter('soon', now), undefined);
  assert.equal(parseRetryAfter('1.5', now), undefined);
  assert.equal(parseRetryAfter('', now), undefined);
  assert.equal(parseRetryAfter(null, now), undefined);
});
