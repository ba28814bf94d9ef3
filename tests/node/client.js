// A Gun client driven by the tests: one JSON command per line on stdin, one JSON event per line on stdout.
// Every event carries the number `n` of the command that caused it. It ends when its stdin ends.
//
// argv[2] = {"gun": "gun" | "gun-1240" | "gun-520", "peers": [url], "kind": "browser" | "bare" | "server"}
//   browser: what a page runs, with a localStorage that lives in memory. A nested put waits until some storage says that
//            it does not know the node, so without a storage such a put may never leave.
//   bare:    the same without a storage
//   server:  what `require('gun')` gives under node: YSON, AXE, files in the working directory
'use strict';
const setup = JSON.parse(process.argv[2]);
console.log = console.error; // Gun greets on stdout, which belongs to the protocol.

const options = { peers: setup.peers, multicast: false, stats: false };
if (setup.kind === 'browser') pretendToBeABrowser();
if (setup.kind !== 'server') options.WebSocket = require('ws');
const Gun = require(setup.kind === 'server' ? setup.gun : setup.gun + '/gun');
const gun = Gun(options);

// Gun uses localStorage only where there is a window.
function pretendToBeABrowser() {
  const items = new Map();
  globalThis.window = globalThis;
  globalThis.localStorage = {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, text) => items.set(key, String(text)),
    removeItem: (key) => items.delete(key),
  };
}

const emit = (n, event) => process.stdout.write(JSON.stringify({ n, ...event }) + '\n');
const chain = (path) => path.reduce((at, key) => at.get(key), gun);

// Data as an application sees it, without Gun's metadata. `undefined` (nothing known) leaves no "value" in the event.
function plain(data) {
  if (data === null || typeof data !== 'object') return data;
  const { _, ...rest } = data;
  return rest;
}
const value = (n) => (data, key) => emit(n, { key, value: plain(data) });
const acknowledged = (n) => (ack) => emit(n, { ack: { ok: plain(ack.ok), err: ack.err } });

const commands = {
  put: ({ n, path, value, ack }) => chain(path).put(value, ack ? acknowledged(n) : undefined),
  puts: ({ path, count }) => { for (let i = 0; i < count; i++) chain(path).get('key' + i).put(i); },
  set: ({ path, value }) => chain(path).set(value),
  link: ({ path, to }) => chain(path).put(chain(to)),
  on: ({ n, path }) => chain(path).on(value(n)),
  once: ({ n, path, wait }) => chain(path).once(value(n), { wait }),
  map: ({ n, path }) => chain(path).map().on(value(n)),
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
