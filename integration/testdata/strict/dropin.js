globalThis.received = [];
MessageBus.subscribe('/numbers', (data) => received.push(data), 0);
