// A Gun client driven by the tests: one JSON command per line on stdin, one JSON event per line on stdout.
// Every event carries the number `n` of the command that caused it. It ends when its stdin ends.
//
// argv[2] = {"peers": [url], "full": false, "storage": false}
//   full:    the package as `require('gun')` gives it on a server (AXE, radisk off) instead of the browser's part
//   storage: Gun's localStorage layer (a plain object under node); it is what acknowledges puts in a browser
'use strict';
const setup = JSON.parse(process.argv[2]);
console.log = console.error; // Gun greets on stdout, which belongs to the protocol.

const Gun = require(setup.full ? 'gun' : 'gun/gun');
const options = { peers: setup.peers, axe: false, radisk: false, multicast: false, stats: false };
if (!setup.storage) options.localStorage = false;
if (!setup.full) options.WebSocket = require('ws');
const gun = Gun(options);

const emit = (n, event) => process.stdout.write(JSON.stringify({ n, ...event }) + '\n');
const chain = (path) => path.reduce((at, key) => at.get(key), gun);
const listening = new Map();

// Data as an application sees it, without Gun's metadata. `undefined` (nothing known) leaves no "value" in the event.
function plain(data) {
  if (data === null || typeof data !== 'object') return data;
  const { _, ...rest } = data;
  return rest;
}
const value = (n) => (data, key) => emit(n, { key, value: plain(data) });
const listener = (n) => function (data, key, message, event) {
  listening.set(n, event);
  value(n)(data, key);
};
const acknowledged = (n) => (ack) => emit(n, { ack: { ok: plain(ack.ok), err: ack.err } });

const commands = {
  put: ({ n, path, value, ack }) => chain(path).put(value, ack ? acknowledged(n) : undefined),
  puts: ({ path, count }) => { for (let i = 0; i < count; i++) chain(path).get('key' + i).put(i); },
  set: ({ path, value }) => chain(path).set(value),
  link: ({ path, to }) => chain(path).put(chain(to)),
  on: ({ n, path }) => chain(path).on(listener(n)),
  once: ({ n, path, wait }) => chain(path).once(value(n), { wait }),
  map: ({ n, path }) => chain(path).map().on(listener(n)),
  off: ({ of }) => listening.get(of).off(),
  peers: ({ n }) => emit(n, {
    value: Object.values(gun._.opt.peers).map((peer) => ({ url: peer.url, pid: peer.pid, open: peer.wire?.readyState === 1 })),
  }),
};

require('readline').createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.op](command);
  })
  .on('close', () => process.exit(0));
