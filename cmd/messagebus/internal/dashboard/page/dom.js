// The one way in which this page makes elements: text is always text.

export const byId = (id) => document.getElementById(id);

/** element('p', { class: 'x' }, 'text', otherElement) */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** svg('path', { d: 'M0 0' }) */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Changes a text only if it is another one, so that a screen reader says it once. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes an element's children like the new ones, and keeps the nodes that are there:
 * whoever selects a text or holds a link down while it is renewed does not lose it. A
 * link that leads elsewhere is another one.
 */
export function renew(parent, children) {
  const old = [...parent.childNodes];
  children.forEach((child, i) => (i < old.length ? become(old[i], child) : parent.append(child)));
  old.slice(children.length).forEach((surplus) => surplus.remove());
}

function become(old, now) {
  if (old.isEqualNode(now)) return;
  if (now.nodeType !== Node.ELEMENT_NODE || old.nodeName !== now.nodeName || old.href !== now.href) {
    old.replaceWith(now);
    return;
  }
  for (const name of old.getAttributeNames()) if (!now.hasAttribute(name)) old.removeAttribute(name);
  for (const name of now.getAttributeNames()) old.setAttribute(name, now.getAttribute(name));
  renew(old, [...now.childNodes]);
}

// Control characters, those without width, and those that turn the direction of what
// follows: none may hide in a name or in data.
const unseen = /[\u0000-\u0009\u000b-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0e\ufeff\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

/** A foreign text, in which what cannot be seen is written out. Line breaks stay. */
export function visible(text) {
  const parts = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(unseen)) {
    parts.append(text.slice(from, found.index), element('span', { class: 'unseen' }, `\\u{${found[0].codePointAt(0).toString(16)}}`));
    from = found.index + found[0].length;
  }
  parts.append(text.slice(from));
  return parts;
}
