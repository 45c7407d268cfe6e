/**
 * 32 hexadecimal digits in the shape of a version 4 UUID, as the gem's client makes them. Not by
 * `crypto.randomUUID`, which pages without TLS do not have.
 */
export function randomClientId(): string {
  const random = crypto.getRandomValues(new Uint8Array(32));
  // The version, then one of 8, 9, a and b.
  const digitAt = (at: number, byte: number): number => (at === 12 ? 4 : at === 16 ? 8 + (byte % 4) : byte % 16);
  return random.reduce((id, byte, at) => id + digitAt(at, byte).toString(16), '');
}
