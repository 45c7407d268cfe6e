// The few facts by which one sees where the trouble is. Each has a word for its state,
// so that no colour is needed to read it.

import { byId, element, renew, visible } from './dom.js';
import { bytes, count, duration, milliseconds } from './format.js';

export function showVitals(o) {
  const { store, totals } = o;
  renew(byId('vitals'), [
    vital('Store', store.error ? 'bad' : 'good', store.error ? 'does not answer' : milliseconds(store.answers_ms), store.url, store.error || store.url),
    vital('Live feed', store.live ? 'good' : store.listening ? 'bad' : 'idle', store.live ? 'up' : store.listening ? 'down' : 'not needed yet',
      store.listening ? 'brings what is published' : 'opens with the first reader'),
    writes(store),
    vital('Waiting for the store', store.queued > 0 ? 'bad' : 'good', count(store.queued), store.queued > 0 ? `${bytes(store.queued_bytes)} in memory` : 'nothing in memory'),
    vital('Possible losses', totals.possible_losses > 0 ? 'look' : 'good', count(totals.possible_losses), 'since the start'),
    vital('Up', 'idle', duration(o.at - Date.parse(o.started)), `messagebus ${o.version.messagebus}`),
  ]);
}

function writes({ error, read_only: readOnly }) {
  if (readOnly) return vital('Writes', 'bad', 'refused', 'the store is read-only');
  return error ? vital('Writes', 'idle', 'not known', 'the store does not answer') : vital('Writes', 'good', 'accepted', 'by the store');
}

function vital(name, state, value, note, title = note) {
  const more = element('span', { class: 'vital-note', title });
  more.append(visible(note));
  return element('div', { class: 'vital', 'data-state': state },
    element('dt', { class: 'vital-name' }, name),
    element('dd', { class: 'vital-value' }, value, more));
}
