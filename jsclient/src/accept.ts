/** Throws a TypeError unless the value is `ok`. */
export function accept(name: string, value: unknown, ok: boolean, must: string): void {
  if (!ok) throw new TypeError(`${name} is ${JSON.stringify(value)}; it must be ${must}`);
}
