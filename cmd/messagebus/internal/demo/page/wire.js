// The pane of raw messages, newest on top.
import { byId, element, exactTimeOf } from './dom.js';

const mostFrames = 200;
const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Wire {
  constructor() {
    this._frames = byId('frames');
    this._count = byId('wire-count');
    this._total = 0;
    byId('wire-presence').addEventListener('change', ({ target }) => {
      this._frames.classList.toggle('chat-only', !target.checked);
    });
    byId('wire-clear').addEventListener('click', () => this._frames.replaceChildren());
    byId('copy').addEventListener('click', ({ target }) => void copy(target));
  }

  /** Shows one message as the client received it; what is fresh lights up. */
  show({ channel, id, globalId, data }, fresh) {
    const frame = element('li', { class: channel.endsWith('/presence') ? 'frame presence' : 'frame' },
      head(channel),
      element('div', { class: 'frame-ids' },
        element('span', {}, 'id ', element('b', { 'data-id': '' }, String(id))),
        element('span', {}, 'global id ', element('b', { 'data-global-id': '' }, String(globalId)))),
      element('pre', { class: 'frame-data' }, ...coloured(data)));
    this._add(frame, fresh);
  }

  showGap({ channel, after, next, reason }) {
    this._add(element('li', { class: 'frame gap' },
      head(channel),
      element('pre', { class: 'frame-data' }, `gap: ${reason}, after ${after}, next ${next}`)), true);
  }

  /** Shows how a terminal would read a room. */
  offer(channel) {
    byId('curl').textContent = `curl -d ${quoted(`${encodeURIComponent(channel).replaceAll('%2F', '/')}=0`)} ${quoted(`${location.origin}/message-bus/curl/poll?dlp=t`)}`;
  }

  _add(frame, fresh) {
    this._total += 1;
    this._count.textContent = String(this._total);
    this._frames.prepend(frame);
    if (fresh && !calm.matches) frame.animate([{ backgroundColor: 'rgb(143 184 242 / 26%)' }, { backgroundColor: 'transparent' }], { duration: 1_100, easing: 'ease-out' });
    while (this._frames.children.length > mostFrames) this._frames.lastElementChild.remove();
  }
}

const quoted = (text) => `'${text.replaceAll("'", "%27")}'`;

function head(channel) {
  return element('div', { class: 'frame-head' },
    element('span', { class: 'frame-channel' }, channel),
    element('time', { class: 'frame-time' }, exactTimeOf(Date.now())));
}

/** JSON in pieces with a class each: a key, a string, a number or a word, or what stands between them. */
function coloured(data) {
  const text = JSON.stringify(data);
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(/("(?:[^"\\]|\\.)*")(:?)|-?\d[\d.eE+-]*|true|false|null/g)) {
    const [all, string, colon] = match;
    const word = string ?? all;
    const kind = string === undefined ? 'n' : colon ? 'k' : 's';
    pieces.push(text.slice(end, match.index), element('span', { class: kind }, word));
    end = match.index + word.length;
  }
  pieces.push(text.slice(end));
  return pieces;
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(byId('curl').textContent);
    button.textContent = 'Copied';
  } catch {
    // No access to the clipboard: the text is selected for the user's own copy.
    getSelection().selectAllChildren(byId('curl'));
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}
