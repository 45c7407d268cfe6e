// The messages of one room, as a list in the page.
import { dayOf, element, timeOf } from './dom.js';
import { initials, tint } from './identity.js';

const mostMessages = 500;
/** Messages of one person within that time stand under one name. */
const grouping = 5 * 60_000;

export class Log {
  constructor(title) {
    this.element = element('ol', { class: 'log', 'aria-label': `Messages in ${title}`, hidden: '' });
    this._empty = element('li', { class: 'nothing' }, element('strong', {}, `Nothing said in ${title} yet`), 'Write the first message, and every window sees it at once.');
    this.element.append(this._empty);
    this._day = '';
    this._last = undefined;
  }

  add(utterance, own) {
    this._empty.remove();
    const day = dayOf(utterance.at);
    if (this._day !== day) {
      this.element.append(element('li', { class: 'day' }, day));
      this._day = day;
      this._last = undefined;
    }
    const follows = this._last?.from === utterance.from && this._last.name === utterance.name && utterance.at - this._last.at < grouping;
    this.element.append(entry(utterance, own, follows));
    this._last = { from: utterance.from, name: utterance.name, at: utterance.at };
    while (this.element.children.length > mostMessages) this.element.firstElementChild.remove();
  }

  notice(text) {
    this.element.append(element('li', { class: 'notice' }, text));
    this._last = undefined;
  }
}

function entry({ from, name, text, at }, own, follows) {
  const time = element('time', { class: 'message-time', datetime: new Date(at).toISOString() }, timeOf(at));
  const body = element('div', { class: 'message-body' });
  if (!follows) {
    const who = element('bdi', { class: own ? 'hidden' : 'message-name', 'data-tint': tint(from) }, own ? `${name}, you` : name);
    body.append(element('div', { class: 'message-head' }, who, time));
  }
  body.append(element('p', { class: 'message-text', title: `${name}, ${timeOf(at)}` }, text));

  const made = element('li', { class: `message${own ? ' own' : ''}${follows ? ' follows' : ''}` });
  if (!own && !follows) made.append(element('span', { class: 'face', 'data-tint': tint(from), 'aria-hidden': 'true' }, initials(name)));
  made.append(body);
  return made;
}
