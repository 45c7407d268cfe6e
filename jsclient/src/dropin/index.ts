// The drop-in as a plain script: sets the global MessageBus, and is a module to AMD and CommonJS loaders.
import { createMessageBus, type MessageBus } from './message-bus.ts';
import type { MessageBusSettings } from './settings.ts';

declare const define: ((dependencies: [], factory: () => MessageBus) => void) & { amd?: unknown };
declare const module: { exports: unknown } | undefined;
declare const jQuery: { ajax: MessageBusSettings['ajax'] } | undefined;

const root = (typeof self === 'undefined' ? globalThis : self) as unknown as { MessageBus?: unknown };

function install(): MessageBus {
  const before = root.MessageBus;
  const bus = createMessageBus(typeof jQuery === 'undefined' ? false : jQuery.ajax, () => {
    if (root.MessageBus === bus) root.MessageBus = before;
  });
  root.MessageBus = bus;
  return bus;
}

if (typeof define === 'function' && define.amd) define([], install);
else if (typeof module === 'object' && module.exports) module.exports = install();
else install();
