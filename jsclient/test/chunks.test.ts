import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPartParser } from '../src/chunks.ts';
import { between, seededRandom } from './random.ts';

const stream = '[]\r\n|\r\n["a|b\r\n"]\r\n|\r\n\r\n|\r\nx\r\n||\r\ny\r\n||\r\n\r\n|\r\n\r\n|\r\n|\r\nrest';
const parts = ['[]', '["a|b\r\n"]', '', 'x\r\n|\r\ny\r\n|\r\n', ''];

function parse(pieces: readonly string[], maxLength = 1000): string[] {
  const seen: string[] = [];
  const parser = createPartParser((part) => seen.push(part), maxLength);
  for (const piece of pieces) parser.push(piece);
  return seen;
}

test('the parser gives the parts of a stream, without what stands after the last separator', () => {
  assert.deepEqual(parse([stream]), parts);
});

test('the parser gives the same parts however the stream is split in two or three', () => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const pieces = [stream.slice(0, first), stream.slice(first, second), stream.slice(second)];
      assert.deepEqual(parse(pieces), parts, `split at ${first} and ${second}`);
    }
  }
});

test('the parser gives the same parts one character at a time', () => {
  assert.deepEqual(parse([...stream]), parts);
});

test('the parser gives the same parts for random text in random pieces', () => {
  const random = seededRandom(1);
  for (let round = 0; round < 500; round++) {
    const text = Array.from({ length: between(random, 0, 60) }, () => '\r\n|x'.charAt(between(random, 0, 3))).join('');
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = between(random, 0, 7);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    assert.deepEqual(parse(pieces), parse([text]), JSON.stringify(pieces));
  }
});

test('the parser takes a part of the greatest length and refuses a longer one, at any split', () => {
  const fits = `${'x'.repeat(20)}\r\n|\r\n`;
  const tooLong = `${'x'.repeat(21)}\r\n|\r\n`;
  for (let at = 0; at <= tooLong.length; at++) {
    assert.deepEqual(parse([fits.slice(0, at), fits.slice(at)], 20), ['x'.repeat(20)]);
    assert.throws(() => parse([tooLong.slice(0, at), tooLong.slice(at)], 20), /a part is too long/);
  }
});

test('the parser takes any number of parts that are each within the limit', () => {
  assert.equal(parse(Array.from({ length: 10 }, () => '[12345678]\r\n|\r\n'), 10).length, 10);
});

test('the parser holds bounded text of a part that never ends', () => {
  const parser = createPartParser(() => assert.fail('there is no part'), 100);
  assert.throws(() => {
    for (let pushed = 0; pushed < 110; pushed++) parser.push('x');
  }, /a part is too long/);
});

test('the parser hands out the parts in front of one that is too long', () => {
  const seen: string[] = [];
  const parser = createPartParser((part) => seen.push(part), 5);
  assert.throws(() => parser.push('[1]\r\n|\r\n[12345678]\r\n|\r\n'), /a part is too long/);
  assert.deepEqual(seen, ['[1]']);
});

test('the parser searches a long part in small pieces once only', () => {
  let searched = 0;
  const { split, indexOf } = String.prototype;
  Object.assign(String.prototype, {
    split(this: string, by: string): string[] {
      searched += this.length;
      return (split as (by: string) => string[]).call(this, by);
    },
    indexOf(this: string, text: string, from: number = 0): number {
      searched += this.length - from;
      return indexOf.call(this, text, from);
    },
  });
  try {
    parse(Array.from({ length: 20_000 }, () => 'xyz'), 100_000);
  } finally {
    Object.assign(String.prototype, { split, indexOf });
  }
  assert.ok(searched >= 20_000 * 3 && searched <= 20_000 * (3 + 4), `searched ${searched} characters`);
});
