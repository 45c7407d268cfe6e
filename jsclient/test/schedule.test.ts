import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveOptions } from '../src/options.ts';
import { createSchedule, type Mode, type Result } from '../src/schedule.ts';
import { parseRetryAfter } from '../src/transport.ts';

const { timing } = resolveOptions({});

function delay(result: Result, mode: Mode, elapsed: number, random = 0.5, retryAfter?: number): number {
  return createSchedule(timing, () => random)(result, mode, elapsed, retryAfter);
}

test('the schedule goes on soon after a held request, with or without messages', () => {
  assert.equal(delay('moved', 'hold', 5), 100);
  assert.equal(delay('quiet', 'hold', 25_000), 100);
  assert.equal(delay('quiet', 'hold', 1_000), 100);
});

test('the schedule waits for the interval when a request that should be held was answered at once with nothing', () => {
  assert.equal(delay('quiet', 'hold', 400), 14_600);
});

test('the schedule counts the interval of requests that are not held from their start', () => {
  assert.equal(delay('moved', 'hidden', 400), 59_600);
  assert.equal(delay('quiet', 'hidden', 70_000), 100);
});

test('the schedule goes on soon after a look-up that found something, and not after one that did not', () => {
  assert.equal(delay('moved', 'lookUp', 5), 100);
  assert.equal(delay('quiet', 'lookUp', 5), 14_995);
});

test('the schedule goes on soon when a proxy kept the answer back', () => {
  assert.equal(delay('again', 'hold', 3_000), 100);
});

test('the schedule doubles the greatest wait at each failure, up to the longest interval', () => {
  const schedule = createSchedule(timing, () => 0.999999);
  const waits = Array.from({ length: 10 }, () => Math.round(schedule('failed', 'hold', 5) / 1000));
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
});

test('the schedule spreads the wait after a failure over the whole range', () => {
  const schedule = createSchedule(timing, () => 0.25);
  const waits = Array.from({ length: 4 }, () => schedule('failed', 'hold', 5));
  assert.deepEqual(waits, [250, 500, 1_000, 2_000]);
  assert.equal(delay('failed', 'hold', 5, 0), 100);
});

test('the schedule never overflows, however many failures there were', () => {
  const schedule = createSchedule(timing, () => 0.5);
  for (let failure = 0; failure < 2_000; failure++) schedule('failed', 'hold', 5);
  assert.equal(schedule('failed', 'hold', 5), 90_000);
});

test('the schedule forgets failures after a good answer, and after a connection that held', () => {
  const schedule = createSchedule(timing, () => 0.5);
  for (let failure = 0; failure < 5; failure++) schedule('failed', 'hold', 5);
  schedule('quiet', 'hold', 5);
  assert.equal(schedule('failed', 'hold', 5), 500);
  schedule('failed', 'hold', 5);
  assert.equal(schedule('failed', 'hold', 20_000), 500);
});

test('the schedule forgets failures after a second of an answer that began well, and not after less', () => {
  const schedule = createSchedule(timing, () => 0.5);
  for (let failure = 0; failure < 5; failure++) schedule('failed', 'hold', 5);
  assert.equal(schedule('failed', 'hold', 999, 0, true), 16_000);
  assert.equal(schedule('failed', 'hold', 14_999, 0, false), 32_000);
  assert.equal(schedule('failed', 'hold', 1_000, 0, true), 500);
});

test('the schedule never comes back before the server wants it, and an hour later at most', () => {
  assert.equal(delay('failed', 'hold', 5, 0, 30_000), 30_000);
  assert.equal(delay('failed', 'hold', 5, 0.5, 30_000), 31_500);
  assert.equal(delay('failed', 'hold', 5, 0, 1e15), 3_600_000);
});

test('the schedule backs off from a server that always says to come back at once', () => {
  const schedule = createSchedule(timing, () => 0.5);
  const waits = Array.from({ length: 5 }, () => schedule('failed', 'hold', 5, 0));
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000]);
});

test('parseRetryAfter reads seconds and dates, and finds no time to come in anything else', () => {
  const now = Date.parse('2024-05-01T10:00:00Z');
  assert.equal(parseRetryAfter('7', now), 7_000);
  assert.equal(parseRetryAfter('Wed, 01 May 2024 10:00:20 GMT', now), 20_000);
  for (const header of ['Wed, 01 May 2024 09:00:00 GMT', '0', '-3', 'soon', 'GMT', '', null]) {
    assert.ok(!(parseRetryAfter(header, now) > 0), String(header));
  }
});
