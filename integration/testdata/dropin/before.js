// Loads what the address asks for, in the order of a page: jQuery or none, then the client.
const asked = new URLSearchParams(location.search);
const client = { gem: '/npm/message-bus-client/assets/message-bus.js', ours: '/client/message-bus.js' }[asked.get('client')];

// A page whose visibility the scenario sets.
let hidden = asked.get('hidden') === 'true';
for (const name of ['hidden', 'webkitHidden']) Object.defineProperty(document, name, { get: () => hidden, configurable: true });
function turn(to) {
  hidden = to;
  document.dispatchEvent(new Event('visibilitychange'));
}

if (asked.get('ajax') === 'jquery') document.write('<script src="/npm/jquery/dist/jquery.js"></scr' + 'ipt>');
document.write(`<script src="${client}"></scr` + 'ipt>');
