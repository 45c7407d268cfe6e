/**
 * 32 hexadecimal digits in the shape of a version 4 UUID, as the gem's client makes them. Not by
 * `crypto.randomUUID`, which pages without TLS do not have.
 */
export function randomClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'));
  const id = digits.join('');
  const variant = '89ab'.charAt(Number.parseInt(id.charAt(16), 16) % 4);
  return `${id.slice(0, 12)}4${id.slice(13, 16)}${variant}${id.slice(17)}`;
}
