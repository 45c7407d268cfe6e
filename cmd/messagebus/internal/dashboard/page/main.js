// Asks how things are every two seconds, and shows it. What cannot be had is said, and
// what was there before stays, marked as old.

import { byId, element, renew, setText, visible } from './dom.js';
import { duration, time, exactTime } from './format.js';
import { ask, Ended, logIn } from './server.js';
import { Plots } from './plots.js';
import { showChannels, showClients, showEvents, showTotals } from './lists.js';
import { showVitals } from './vitals.js';
import './sheet.js';

const pace = 2000; // ms

const headlines = {
  well: 'All is well',
  notice: 'Running, with something to look at',
  trouble: 'Messages are not delivered',
};

const plots = new Plots(byId('plots'));
let latest; // the overview that is shown
let lost; // since when there is no answer; undefined: there is
let timer;

function show(overview) {
  latest = { ...overview, at: Date.parse(overview.at), received: performance.now() };
  showVerdict(latest);
  showVitals(latest);
  plots.show(latest);
  showChannels(latest);
  showEvents(latest);
  showClients(latest);
  showTotals(latest);
}

function showVerdict({ verdict, at }) {
  byId('verdict').dataset.level = verdict.level;
  setText(byId('headline'), headlines[verdict.level] ?? verdict.level);
  const since = Date.parse(verdict.since);
  showSince(duration(at - since), clockOf(since, at));
  renew(byId('findings'), verdict.findings.map((f) => element('li', { class: `finding ${f.level}` },
    sayFinding(f.text), element('span', { class: 'finding-since' }, 'since ', clockOf(Date.parse(f.since), at)))));
  document.title = `${{ well: '', notice: '(!) ', trouble: '(✕) ' }[verdict.level] ?? ''}messagebus dashboard · ${location.host}`;
}

function showSince(long, clock) {
  renew(byId('since'), [document.createTextNode(`for ${long}, since `), clock]);
}

function sayFinding(text) {
  const said = element('span', { class: 'finding-text' });
  said.append(visible(text));
  return said;
}

function clockOf(at, now) {
  return element('time', { datetime: new Date(at).toISOString(), title: exactTime(at) }, time(at, now));
}

function showLost(error) {
  lost ??= Date.now();
  byId('verdict').dataset.level = 'lost';
  setText(byId('headline'), 'No answer from the server');
  showSince(duration(Date.now() - lost), clockOf(lost, Date.now()));
  renew(byId('findings'), [
    element('li', { class: 'finding' }, element('span', { class: 'finding-text' }, `${error.message}; it is asked again every two seconds`)),
    element('li', { class: 'finding' }, element('span', { class: 'finding-text' }, 'what is below is of ', clockOf(latest.at, Date.now())))]);
  document.title = `(?) messagebus dashboard · ${location.host}`;
}

function showLink(state, text) {
  byId('link').dataset.state = state;
  setText(byId('link-text'), text);
  document.body.toggleAttribute('data-stale', state === 'lost');
}

async function look() {
  clearTimeout(timer);
  try {
    show(await ask('/api/overview'));
    lost = undefined;
    showLink('live', 'Live');
  } catch (error) {
    if (error instanceof Ended) return logIn();
    showLost(error);
    showLink('lost', 'Lost');
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, pace);
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
window.addEventListener('online', look);

show(JSON.parse(byId('overview').textContent));
timer = setTimeout(look, pace);
