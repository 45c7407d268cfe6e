// A chat of which every part is a message on the bus: what is said, who is here, who is typing.
import { createClient } from '/client/index.js';
import { byId, element } from './dom.js';
import { Identity, initials, tint } from './identity.js';
import { Log } from './log.js';
import { heartbeat, Presence, typingSentence } from './presence.js';
import { publish } from './publish.js';
import { Wire } from './wire.js';

const history = 50;
const mostRooms = 16;
/** How often at most a window says that it is typing. */
const typingInterval = 2_000;

const roomsChannel = '/demo/rooms';
const roomChannel = (room) => `/demo/room/${room}`;
const presenceChannel = (room) => `/demo/room/${room}/presence`;

const me = new Identity();
const presence = new Presence();
const wire = new Wire();
// People watch the connection come back here, so it is tried more often than an application would.
// All tabs of a browser use one connection.
const client = createClient({ share: true, autoStart: false, timing: { maxPollInterval: 4_000 } });

/** Rooms by name: { name, title, log, unread, button }. */
const rooms = new Map();
let current;
let leavePresence = () => {};
/** Milliseconds by which this clock is behind the server's, and the server's time at which the page came. */
let behind = 0;
let arrived = 0;
let lastTyping = 0;
/** When the message that is on its way was sent. */
let sentAt;

const serverNow = () => Date.now() + behind;

// --- saying ---------------------------------------------------------------------

async function say(kind, room, text, options) {
  const answer = await publish({ room, kind, from: me.id, name: me.name, ...(text === undefined ? {} : { text }) }, options);
  behind = answer.behind;
  return answer;
}

/** For what is said again soon, so that a failure needs no answer. */
async function mention(kind, room, options) {
  try {
    await say(kind, room, undefined, options);
  } catch {
    // The connection state shows it.
  }
}

// --- rooms ----------------------------------------------------------------------

const titleOf = (name) => name.split('-').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');

/** The room that the address names. */
function roomOfAddress() {
  try {
    return roomNameOf(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return '';
  }
}

/** A name for a room, of what somebody typed. Empty if nothing is left of it. */
function roomNameOf(text) {
  return text.normalize('NFC').toLowerCase().replace(/[^\p{L}\p{Nd}]+/gu, '-').replace(/^-+|-+$/g, '');
}

function addRoom(name) {
  const known = rooms.get(name);
  if (known) return known;
  const title = titleOf(name);
  const log = new Log(title);
  const badge = element('span', { class: 'unread', hidden: '' });
  const button = element('button', { class: 'room', type: 'button', 'data-room': name },
    element('span', { class: 'hash', 'aria-hidden': 'true' }, '#'), element('bdi', { class: 'room-name' }, title), badge);
  const room = { name, title, log, badge, button, unread: 0 };
  rooms.set(name, room);
  byId('logs').append(log.element);
  byId('rooms').append(element('li', {}, button));
  button.addEventListener('click', () => enter(room));
  client.subscribe(roomChannel(name), { from: { last: history } }, (message) => hear(room, message.data, message));
  return room;
}

function enter(room) {
  show('chat');
  if (current === room) return;
  if (current) {
    current.log.element.hidden = true;
    current.button.removeAttribute('aria-current');
    void mention('bye', current.name);
  }
  current = room;
  room.log.element.hidden = false;
  room.button.setAttribute('aria-current', 'true');
  setUnread(room, 0);
  byId('room-title').textContent = room.title;
  byId('text').placeholder = `Message ${room.title}`;
  document.title = `${room.title} · messagebus demo`;
  if (roomOfAddress() !== room.name) window.history.replaceState(null, '', `#${encodeURIComponent(room.name)}`);
  wire.offer(roomChannel(room.name));
  watchPresence(room);
  toEnd();
}

function watchPresence(room) {
  leavePresence();
  presence.clear();
  showPeople();
  leavePresence = client.subscribe(presenceChannel(room.name), { from: { last: 100 } }, (message) => {
    wire.show(message, message.data.at > arrived);
    presence.take(message.data);
    showPeople();
  });
  if (client.status !== 'stopped') void mention('here', room.name);
}

function setUnread(room, unread) {
  room.unread = unread;
  room.badge.textContent = unread > 99 ? '99+' : String(unread);
  room.badge.hidden = unread === 0;
  room.badge.setAttribute('aria-label', `${unread} unread`);
  byId('tab-unread').hidden = [...rooms.values()].every((other) => other.unread === 0);
}

// --- hearing --------------------------------------------------------------------

function hear(room, data, message) {
  const own = data.from === me.id;
  const live = data.at > arrived;
  wire.show(message, live);
  const wasAtEnd = atEnd();
  room.log.add(data, own);
  if (own) showRoundTrip();
  if (room === current) {
    presence.take(data);
    showPeople();
    if (own || wasAtEnd) toEnd();
    else if (live) byId('newer').hidden = false;
    if (live && !own) byId('announcer').textContent = `${data.name}: ${data.text}`;
  } else if (live && !own) {
    setUnread(room, room.unread + 1);
  }
}

function showPeople() {
  const now = serverNow();
  const people = presence.people(now).filter((person) => person.id !== me.id);
  const rows = people.map((person) => personRow(person, presence.isTyping(person, now) ? 'typing…' : ''));
  byId('people').replaceChildren(personRow(me, 'you'), ...rows);
  byId('people-count').textContent = String(people.length + 1);
  byId('room-sub').textContent = people.length === 0 ? 'Only you are here. Open a second window to talk.' : `${people.length + 1} people here`;
  const sentence = typingSentence(people.filter((person) => presence.isTyping(person, now)).map((person) => person.name));
  // Setting the same text again would have it read out again.
  if (byId('typing').textContent !== sentence) byId('typing').textContent = sentence;
}

function personRow({ id, name }, note) {
  return element('li', { class: 'person' },
    element('span', { class: 'face', 'data-tint': tint(id), 'aria-hidden': 'true' }, initials(name)),
    element('bdi', { class: 'person-name' }, name),
    element('span', { class: 'person-note' }, note));
}

// --- connection -----------------------------------------------------------------

const states = {
  stopped: ['offline', 'Stopped'],
  connecting: ['connecting', 'Connecting'],
  connected: ['live', 'Live'],
  retrying: ['reconnecting', 'Reconnecting'],
  away: ['offline', 'Away'],
};

const lost = {
  offline: 'This device is offline. The chat goes on when it is back.',
  reconnecting: 'The connection is gone. What you missed comes as soon as it is back.',
};

function showState() {
  const [state, text] = navigator.onLine || client.status === 'connected' ? states[client.status] : ['offline', 'Offline'];
  byId('state').dataset.state = state;
  if (byId('state-text').textContent !== text) byId('state-text').textContent = text;
  byId('lost').hidden = state === 'live' || state === 'connecting';
  byId('lost').textContent = lost[state] ?? '';
  if (state !== 'live') byId('state-detail').hidden = true;
}

/** From the click on Send until the message is back over the bus. */
function showRoundTrip() {
  if (sentAt === undefined) return;
  byId('round-trip').textContent = String(Math.max(1, Math.round(performance.now() - sentAt)));
  byId('state-detail').hidden = false;
  sentAt = undefined;
}

// --- the page -------------------------------------------------------------------

function show(view) {
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll('.tab')) {
    if (tab.dataset.view === view) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
  }
  if (view === 'chat') toEnd();
}

const atEnd = () => {
  const { scrollHeight, scrollTop, clientHeight } = byId('scroll');
  return scrollHeight - scrollTop - clientHeight < 60;
};

function toEnd() {
  byId('scroll').scrollTop = byId('scroll').scrollHeight;
  byId('newer').hidden = true;
}

function showError(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = text === '';
}

function showMe() {
  byId('your-name').value = me.name;
  byId('your-face').textContent = initials(me.name);
  byId('your-face').dataset.tint = tint(me.id);
}

async function send() {
  const field = byId('text');
  const text = field.value.trim();
  if (text === '') return;
  field.value = '';
  fit();
  lastTyping = 0;
  showError('send-error', '');
  sentAt = performance.now();
  try {
    await say('say', current.name, text);
  } catch (error) {
    sentAt = undefined;
    // Nothing that was written is lost, nor what was written since.
    field.value = field.value === '' ? text : `${text}\n${field.value}`;
    fit();
    showError('send-error', `Not sent: ${error.message}. Your text is still here.`);
  }
}

/** Makes the message box as high as its text, where the browser does not. */
function fit() {
  const field = byId('text');
  document.querySelector('.send').disabled = field.value.trim() === '';
  if (CSS.supports('field-sizing', 'content')) return;
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight}px`;
}

function watchComposer() {
  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    void send();
  });
  byId('text').addEventListener('keydown', (event) => {
    // Not while a word is being composed, where Enter chooses a character.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  });
  byId('text').addEventListener('input', ({ target }) => {
    fit();
    if (target.value.trim() === '' || Date.now() - lastTyping < typingInterval) return;
    lastTyping = Date.now();
    void mention('typing', current.name);
  });
  byId('newer').addEventListener('click', toEnd);
  byId('scroll').addEventListener('scroll', () => {
    if (atEnd()) byId('newer').hidden = true;
  }, { passive: true });
}

function watchSide() {
  byId('open').addEventListener('submit', (event) => {
    event.preventDefault();
    void openRoom();
  });
  byId('you').addEventListener('submit', (event) => {
    event.preventDefault();
    byId('your-name').blur();
  });
  byId('your-name').addEventListener('change', ({ target }) => {
    const name = target.value.trim().replace(/\s+/g, ' ');
    if (name !== '') me.rename(name);
    showMe();
    showPeople();
    void mention('here', current.name);
  });
  for (const tab of document.querySelectorAll('.tab')) tab.addEventListener('click', () => show(tab.dataset.view));
}

async function openRoom() {
  const field = byId('open-name');
  const name = roomNameOf(field.value);
  showError('open-error', '');
  if (name === '') {
    showError('open-error', 'A room needs a name of letters or digits.');
    field.focus();
    return;
  }
  try {
    if (!rooms.has(name)) await say('open', name);
    field.value = '';
    enter(addRoom(name));
    byId('text').focus();
  } catch (error) {
    showError('open-error', `Not opened: ${error.message}.`);
  }
}

function watchPage() {
  setInterval(() => void mention('here', current.name), heartbeat);
  setInterval(showPeople, 1_000);
  addEventListener('pagehide', () => void mention('bye', current.name, { keepalive: true }));
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) void mention('here', current.name);
  });
  addEventListener('online', showState);
  addEventListener('offline', showState);
  addEventListener('hashchange', () => {
    const name = roomOfAddress();
    if (name !== '') enter(addRoom(name));
  });
}

function watchClient() {
  let retried = false;
  client.on('status', (status) => {
    showState();
    // Those who were away as well have missed the last heartbeats.
    if (status === 'connected' && retried) void mention('here', current.name);
    retried = status === 'retrying';
  });
  client.on('error', () => {});
  client.on('gap', (gap) => {
    wire.showGap(gap);
    const room = [...rooms.values()].find(({ name }) => roomChannel(name) === gap.channel);
    room?.log.notice(gap.reason === 'reset' ? 'The server began anew here' : 'Something may be missing here');
    if (room === current) toEnd();
  });
  client.subscribe(roomsChannel, { from: { last: mostRooms } }, (message) => {
    wire.show(message, message.data.at > arrived);
    if (rooms.size < mostRooms) addRoom(message.data.room);
  });
}

async function begin() {
  showMe();
  fit();
  watchClient();
  watchComposer();
  watchSide();
  for (const name of ['general', 'random', 'lab']) addRoom(name);
  enter(addRoom(roomOfAddress() || 'general'));
  watchPage();
  // The first answer tells the server's time, without which old messages would count as new.
  await mention('here', current.name);
  arrived = serverNow();
  client.start();
  if (matchMedia('(min-width: 861px)').matches) byId('text').focus();
}

void begin();
