// Gun's mesh of the npm package without sockets and without a clock: the oracle of the differential fuzz tests.
//
// One line of stdin is one case: what happened to a relay, step by step, and what gunmetal's router made of it. One line of
// stdout is the verdict: `ok`, `excused <why>`, or the first difference as JSON.
//
// What differs on purpose (docs/differences.md) is taken out of the package's mesh from outside, in `asDocumented`, so
// that everything else is compared without exceptions.
'use strict';

// Timers run when a step is over; those of seconds (the sweep of ids) run when a case says `tick`.
let now = 1e12;
let timers = [];
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) { super(...(args.length ? args : [now])); }
  static now() { return now; }
};
globalThis.setTimeout = (f, ms) => { if (!(ms >= 9000)) timers.push(f); return 1; };
globalThis.setImmediate = (f) => { timers.push(f); return 1; };
function settle() {
  while (timers.length) {
    const due = timers;
    timers = [];
    for (const f of due) f();
  }
}

let failed = false; // A handler of Gun threw, which Gun reports as broken JSON.
JSON.parseAsync = (text, done) => {
  let value;
  try { value = JSON.parse(text); } catch (e) { return done(e); }
  try { done(undefined, value); } catch (e) { failed = true; done(e); }
};

require('gun/src/shim');
const Mesh = require('gun/src/mesh');
const Dup = require('gun/src/dup');
const onto = require('gun/src/onto');

// A batch is heard in one go. Gun takes turns, after nine elements or a falsy one, and other frames come in between.
setTimeout.turn = (f) => f();

let invented = new Set();
String.random = () => {
  const id = `~${invented.size}~`;
  invented.add(id);
  return id;
};

// What a peer without a URL or pid has instead: falsy, as `undefined` is, but a name that no case has.
const NOTHING = NaN;

const TICK_MS = 4600; // Two of them are more than the 9 s of an id, as two of gunmetal's generations are.

function play(test) {
  now = 1e12;
  timers = [];
  failed = false;
  invented = new Set();
  const names = { toGunmetal: new Map(), toGun: new Map() };
  const root = { opt: { peers: {}, pid: test.relay, max: test.max, pack: 9000, log() {} }, on: onto, dup: Dup() };
  const mesh = Mesh(root);
  const peers = [];
  const twins = asDocumented(root, mesh);
  let sent;
  for (const [index, step] of test.steps.entries()) {
    sent = peers.map(() => []);
    if ('join' in step) {
      const peer = { id: step.join, url: step.link ? step.join : NOTHING, pid: NOTHING, n: peers.length, wire: {} };
      peer.wire.send = (frame) => sent[peer.n].push(frame);
      peers.push(peer);
      sent.push([]);
      mesh.hi(peer);
      settle();
      continue;
    }
    if ('leave' in step) {
      mesh.bye(peers[step.leave]);
      peers[step.leave].gone = true;
    } else if ('tick' in step) {
      now += TICK_MS;
      root.dup.drop();
      for (const peer of peers) peer.last = undefined;
    } else if (!peers[step.from].gone) {
      mesh.hear(step.text, peers[step.from]);
    }
    settle();
    if (failed) return 'excused a handler throws';
    if (twins.found) return 'excused a pair and an id share a key';
    const gun = sent.map((frames) => frames.flatMap((frame) => (frame[0] === '[' ? JSON.parse(frame) : [JSON.parse(frame)])));
    const gunmetal = peers.map((_, n) => (step.heard || []).filter((heard) => heard[0] === n).map((heard) => parse(heard[1])));
    for (let n = 0; n < peers.length; n++) {
      const same = gun[n].length === gunmetal[n].length && gun[n].every((message, i) => sameMessage(message, gunmetal[n][i], names));
      if (!same) return JSON.stringify({ step: index, peer: n, gun: gun[n], gunmetal: gunmetal[n] });
    }
  }
  return 'ok';
}

function parse(text) {
  try { return JSON.parse(text); } catch (e) { return { 'NOT JSON': text }; }
}

// Takes the intended differences out of Gun's mesh. Each has a row of the same meaning in docs/differences.md.
function asDocumented(root, mesh) {
  // Inherited names are ordinary ids.
  Object.setPrototypeOf(root.dup.s, null);

  // Objects in a batch are messages, whatever their members "0" and "length"; arrays in a batch are nothing.
  const hear = mesh.hear;
  mesh.hear = (raw, peer) => {
    if (Array.isArray(raw)) return;
    if (typeof raw === 'object') return hear.one(raw, peer, now);
    return hear.call(mesh, raw, peer);
  };
  // The only verbs are `?` and `!`: nothing inherited or internal, and nothing that has the relay dial.
  for (const key of ['name', 'length']) delete mesh.hear[key];
  Object.setPrototypeOf(mesh.hear, null);
  mesh.hear['!'] = hear['!'];
  mesh.hear['?'] = (message, peer) => {
    const known = peer.pid;
    hear['?'](message, peer);
    if (!known && !isName(String(peer.pid))) peer.pid = NOTHING;
  };

  // Peers are compared by names they have.
  root.on('in', (message) => {
    if (message._.yo) {
      const yo = Object.create(null);
      for (const name of message['><'].slice(0, 99).split(',')) yo[name] = 1;
      message._.yo = yo;
    }
    mesh.say(message);
  });

  // `@` and `##` together are one key with Gun: noticed here, as it cannot be changed from outside.
  const twins = { found: false, keys: new Map() };
  const note = (key, label) => {
    const known = twins.keys.get(key);
    if (known !== undefined && known !== label) twins.found = true;
    twins.keys.set(key, label);
  };
  const one = hear.one;
  hear.one = (message, peer, time) => {
    try {
      const id = message['#'], hash = message['##'], asked = message['@'] || (message.get && id);
      if (id) note(String(id), 'id');
      if (hash && asked) {
        note(String(asked + hash), `${String(asked)}\uffff${String(hash)}`);
        if (typeof (asked + hash) === 'number') twins.found = true; // They are added.
      }
    } catch (e) {
      failed = true;
    }
    return one(message, peer, time);
  };
  return twins;
}

function isName(text) {
  return Buffer.byteLength(text) <= 128 && !/\p{Surrogate}/u.test(text);
}

// Gun's message and gunmetal's: equal values, and invented ids equal up to renaming.
function sameMessage(gun, gunmetal, names) {
  for (const key of ['#', '@']) {
    if (invented.has(gun[key])) {
      if (!rename(gun[key], gunmetal[key], names)) return false;
      delete gun[key];
      delete gunmetal[key];
    }
  }
  if (gun.DBG && gunmetal.DBG) {
    delete gun.DBG;
    delete gunmetal.DBG;
  }
  return same(gun, gunmetal);
}

function rename(gun, gunmetal, { toGunmetal, toGun }) {
  if (typeof gunmetal !== 'string' || !/^[0-9A-Za-z]{9}$/.test(gunmetal)) return false;
  if (!toGunmetal.has(gun) && !toGun.has(gunmetal)) {
    toGunmetal.set(gun, gunmetal);
    toGun.set(gunmetal, gun);
  }
  return toGunmetal.get(gun) === gunmetal && toGun.get(gunmetal) === gun;
}

// Equal once printed and parsed again: so -0 is 0, and 1e400 is null.
function same(a, b) {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return JSON.stringify(a) === JSON.stringify(b);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (data) => {
  const lines = (rest + data).split('\n');
  rest = lines.pop();
  const verdicts = lines.map((line) => {
    try { return `${play(JSON.parse(line))}\n`; } catch (e) { return `${JSON.stringify({ oracle: e.stack })}\n`; }
  });
  if (verdicts.length) process.stdout.write(verdicts.join(''));
});
