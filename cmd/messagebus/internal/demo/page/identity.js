// Who this window is: an id of its own, and a name that the user may change.

const moods = ['Brave', 'Breezy', 'Calm', 'Cheerful', 'Clever', 'Curious', 'Gentle', 'Happy', 'Jolly', 'Lucky',
  'Merry', 'Mighty', 'Nimble', 'Patient', 'Quick', 'Quiet', 'Sunny', 'Swift', 'Witty', 'Zesty'];
const animals = ['Badger', 'Beaver', 'Bison', 'Crane', 'Dolphin', 'Falcon', 'Ferret', 'Finch', 'Fox', 'Gecko',
  'Heron', 'Ibex', 'Koala', 'Lynx', 'Magpie', 'Marten', 'Otter', 'Owl', 'Panda', 'Puffin', 'Raven', 'Seal',
  'Sparrow', 'Tapir', 'Walrus', 'Wombat'];

const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** A browser may refuse to keep anything; the chat works all the same. */
function recall(storage, key) {
  try {
    return window[storage].getItem(key) ?? '';
  } catch {
    return '';
  }
}

function keep(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // Then it is forgotten with the page.
  }
}

export class Identity {
  constructor() {
    // The id outlives a reload but not the window, so that two windows are two people.
    this.id = recall('sessionStorage', 'demo.id') || randomId();
    keep('sessionStorage', 'demo.id', this.id);
    // A chosen name is for all windows, a random one for this.
    this.name = recall('sessionStorage', 'demo.name') || recall('localStorage', 'demo.name') || `${pick(moods)} ${pick(animals)}`;
    keep('sessionStorage', 'demo.name', this.name);
  }

  rename(name) {
    this.name = name;
    keep('sessionStorage', 'demo.name', name);
    keep('localStorage', 'demo.name', name);
  }
}

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Up to two letters that stand for a name. */
export function initials(name) {
  const words = name.split(/[\s-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join('');
}

/** One of eight colours, the same for a person in every window. */
export function tint(id) {
  let hash = 0;
  for (const character of id) hash = (Math.imul(hash, 31) + character.codePointAt(0)) >>> 0;
  return String(hash % 8);
}
