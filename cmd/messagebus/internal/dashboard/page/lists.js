// The tables and the list of events.

import { byId, element, renew, visible } from './dom.js';
import { bytes, count, exactTime, tenths, time } from './format.js';
import { addressOf } from './sheet.js';

/** Puts rows into a table, or says that there are none. The focus goes where its row goes. */
function fillTable(id, rows) {
  const focused = document.activeElement?.closest(`#${id} a`)?.getAttribute('href');
  renew(byId(id).tBodies[0], rows);
  byId(id).hidden = rows.length === 0;
  byId(`${id}-empty`).hidden = rows.length > 0;
  if (focused) [...byId(id).querySelectorAll('a')].find((a) => a.getAttribute('href') === focused)?.focus();
}

const number = (text, zero) => element('td', { class: zero ? 'number zero' : 'number' }, text);

const rate = (n) => number(tenths(n), n < 0.05);

/** A name that others have made up. */
function name(tag, text, attributes = {}) {
  const shown = element('bdi', {});
  shown.append(visible(text));
  return element(tag, { class: 'name', title: text, ...attributes }, shown);
}

export function showChannels({ channels }) {
  fillTable('channels', channels.map((c) => {
    const link = name('a', c.channel, { href: addressOf(c.channel, c.site) });
    const cell = element('th', { scope: 'row' }, link);
    if (c.site !== null) cell.append(name('span', c.site || '(empty site)', { class: 'site' }));
    return element('tr', {}, cell,
      number(c.backlog === null ? '–' : count(c.backlog), !c.backlog), number(c.last_id === null ? '–' : count(c.last_id), !c.last_id),
      rate(c.published), rate(c.delivered), rate(c.bytes / 1000));
  }));
}

export function showClients({ clients, at }) {
  const who = (c) => [element('th', { scope: 'row' }, name('span', c.client)), element('td', {}, userOf(c))];
  fillTable('largest', clients.largest.map((c) => element('tr', {}, ...who(c), number(count(c.channels)),
    element('td', { class: c.queued || c.behind ? 'number' : 'number zero' }, c.behind ? 'behind' : tenths(c.queued / 1000)))));
  fillTable('slow', clients.slow.map((c) => element('tr', {}, ...who(c), number(count(c.times)), number(time(Date.parse(c.last), at)))));
}

function userOf(c) {
  const user = c.user === 'null' ? element('span', { class: 'zero' }, 'anonymous') : name('span', c.user);
  return c.site ? element('span', {}, user, name('span', c.site, { class: 'site' })) : user;
}

const weights = { trouble: 'bad', 'feed down': 'bad', 'possible loss': 'bad', 'given up': 'bad', undecodable: 'look', notice: 'look', 'slow client': 'look' };

export function showEvents({ events, at }) {
  renew(byId('events'), events.map((e) => {
    const [first, last] = [Date.parse(e.first), Date.parse(e.last)];
    const text = element('p', { class: 'event-text' });
    text.append(visible(sentence(e.text)));
    const more = e.count > 1 ? [element('p', { class: 'event-more' }, `${count(e.count)} times from ${time(first, at)}; this was the last`)] : [];
    return element('li', { class: 'event', 'data-state': weights[e.kind] ?? 'good' },
      element('time', { class: 'event-time', datetime: new Date(last).toISOString(), title: exactTime(last) }, time(last, at)),
      element('div', { class: 'event-body' }, element('p', { class: 'event-kind' }, sentence(e.kind)), text, ...more));
  }));
  byId('events').hidden = events.length === 0;
  byId('events-empty').hidden = events.length > 0;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const totals = [
  ['published', 'Published'], ['published_bytes', 'Bytes of these', bytes], ['delivered', 'Delivered'], ['connected', 'Connections held'],
  ['possible_losses', 'Possible losses', count, true], ['client_possible_losses', 'Gaps told to clients'],
  ['failed', 'Publishes failed', count, true], ['unknown', 'Publishes in doubt', count, true], ['refused', 'Publishes refused'],
  ['queued', 'Publishes that waited'], ['given_up', 'Given up', count, true], ['undecodable', 'Unreadable', count, true],
  ['late', 'Late'], ['repaired', 'Repaired by the feed'], ['slow_clients', 'Times too slow'], ['refused_channels', 'Channels refused'], ['panics', 'Panics', count, true],
];

export function showTotals(o) {
  renew(byId('totals'), totals.map(([key, title, write = count, wrong = false]) => {
    const value = o.totals[key];
    return element('div', { class: 'total', 'data-state': value === 0 ? 'zero' : wrong ? 'look' : 'good' },
      element('dt', {}, title), element('dd', {}, write(value)));
  }));
  byId('started').textContent = `of this process, ${exactTime(Date.parse(o.started))}`;
}
