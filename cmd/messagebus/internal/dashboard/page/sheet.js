// One channel: what is stored on it, and a message to try it with. Its address is in
// the page's own, so that it can be sent to somebody.

import { byId, element, setText, visible } from './dom.js';
import { bytes, count } from './format.js';
import { ask, Ended, logIn } from './server.js';

const sheet = byId('sheet');
let shown; // the channel that is open

export function addressOf(channel, site) {
  const query = new URLSearchParams({ channel });
  if (site !== null && site !== undefined) query.set('site', site);
  return `#${query}`;
}

/** Opens what the address names. */
function follow() {
  const query = new URLSearchParams(location.hash.slice(1));
  const channel = query.get('channel');
  if (!channel) {
    sheet.close();
    return;
  }
  shown = { channel, site: query.get('site') };
  byId('sheet-title').replaceChildren(visible(channel));
  byId('messages').replaceChildren();
  byId('publish-result').textContent = '';
  setText(byId('sheet-sub'), '');
  if (!sheet.open) sheet.showModal();
  read();
}

async function read() {
  const asked = shown;
  say(byId('messages').childElementCount > 0 ? '' : 'Reading …');
  const query = new URLSearchParams({ channel: asked.channel });
  if (asked.site !== null) query.set('site', asked.site);
  try {
    const look = await ask(`/api/channel?${query}`);
    if (asked === shown) show(look);
  } catch (error) {
    if (error instanceof Ended) return logIn();
    if (asked === shown) say(`It cannot be read: ${error.message}`);
  }
}

function say(text) {
  setText(byId('sheet-state'), text);
  byId('sheet-state').hidden = text === '';
}

function show(look) {
  const stored = look.backlog === null ? '' : `${count(look.backlog)} stored · `;
  const site = look.site === null ? '' : `site ${look.site || '(empty)'} · `;
  byId('sheet-sub').replaceChildren(visible(`${site}${stored}last id ${count(look.last_id)}${look.messages.length > 0 ? ` · the newest ${look.messages.length}` : ''}`));
  byId('messages').replaceChildren(...look.unreadable.map(lineOf), ...look.messages.map(messageOf));
  say(look.messages.length + look.unreadable.length > 0 ? '' : 'Nothing is stored on this channel.');
}

function lineOf(text) {
  const line = element('li', { class: 'message wrong' });
  line.append(visible(text));
  return line;
}

function messageOf(m) {
  const data = element('pre', { class: 'data' });
  data.append(visible(m.data));
  const head = element('p', { class: 'message-head' }, element('span', { class: 'message-id' }, count(m.id)),
    element('span', {}, `global ${count(m.global_id)}`), element('span', {}, bytes(m.bytes)));
  if (m.truncated) head.append(element('span', { class: 'cut' }, 'only the beginning is shown'));
  const parts = [head];
  if (m.targets > 0) parts.push(targetsOf(m));
  return element('li', { class: 'message' }, ...parts, data);
}

function targetsOf(m) {
  const shownTargets = [['user', m.user_ids], ['group', m.group_ids], ['client', m.client_ids]]
    .flatMap(([kind, ids]) => ids.map((id) => `${kind} ${id}`));
  const more = m.targets - shownTargets.length;
  const line = element('p', { class: 'message-for' });
  line.append(visible(`only for ${shownTargets.join(', ')}${more > 0 ? ` and ${count(more)} more` : ''}`));
  return line;
}

async function publish(event) {
  event.preventDefault();
  const { channel, site } = shown;
  const data = byId('publish-data').value;
  try {
    JSON.parse(data); // the text itself is sent, which keeps long numbers as they are
  } catch (error) {
    return tell('wrong', `This is not JSON: ${error.message}. A text needs quotes: "hello"`);
  }
  const body = `{"channel":${JSON.stringify(channel)},"data":${data}${site === null ? '' : `,"site":${JSON.stringify(site)}`}}`;
  tell('', 'Publishing …');
  try {
    const { id, queued } = await ask('/publish', body);
    tell('good', queued ? 'Queued: the store is read-only' : `Published as ${count(id)}`);
    if (shown) await read();
  } catch (error) {
    if (error instanceof Ended) return logIn();
    tell('wrong', `Not published: ${error.message}`);
  }
}

function tell(state, text) {
  byId('publish-result').dataset.state = state;
  setText(byId('publish-result'), text);
}

byId('publish').addEventListener('submit', publish);
byId('sheet-again').addEventListener('click', read);
byId('sheet-close').addEventListener('click', () => sheet.close());
sheet.addEventListener('click', (e) => { if (e.target === sheet) sheet.close(); });
sheet.addEventListener('close', () => {
  shown = undefined;
  if (location.hash) history.pushState(null, '', location.pathname);
});
byId('open').addEventListener('submit', (e) => {
  e.preventDefault();
  location.hash = addressOf(byId('open-channel').value);
});
byId('publish-data').addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) byId('publish').requestSubmit();
});
window.addEventListener('hashchange', follow);
follow();
