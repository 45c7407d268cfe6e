// Who is in a room and who is typing, as its presence messages tell. Nothing here touches the page.

/** Everyone says "here" that often; who has not been heard for long has left without a word. */
export const heartbeat = 20_000;
const absence = 75_000;
const typingLasts = 4_000;

export class Presence {
  constructor() {
    this._people = new Map();
  }

  clear() {
    this._people.clear();
  }

  /** Takes a presence message, or a chat message, which ends typing. */
  take({ kind, from, name, at }) {
    if (kind === 'bye') {
      this._people.delete(from);
      return;
    }
    const known = this._people.get(from);
    // What was said before the window asked for it may come later than what was said after.
    if (known && known.heard > at) return;
    const typing = kind === 'typing' ? at + typingLasts : kind === 'say' ? 0 : (known?.typing ?? 0);
    this._people.set(from, { id: from, name, heard: at, typing });
  }

  /** Everyone who is there, by name. */
  people(now) {
    for (const [id, person] of this._people) if (person.heard + absence < now) this._people.delete(id);
    return [...this._people.values()].sort((a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1));
  }

  isTyping(person, now) {
    return person.typing > now;
  }
}

/** A sentence on who is typing. */
export function typingSentence(names) {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return 'Several people are typing…';
}
