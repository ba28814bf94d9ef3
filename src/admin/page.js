// The live page: asks for /stats.json and /peers.json every second and shows what it gets.
// Whatever a peer may have chosen (its pid) is set as text, never as markup.
'use strict';

const EVERY_MS = 1000;
const SAMPLES_MAX = 300;
const SPAN_MIN = 60;
const PEERS_MAX = 50;
const SVG = 'http://www.w3.org/2000/svg';

const byId = id => document.getElementById(id);

function element(name, text = '', className = '') {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Figures as people read them

function short(value, digits = 3) {
  if (value === 0 || (Math.abs(value) >= 1 && Math.abs(value) < 1000)) return trim(value, digits);
  if (Math.abs(value) < 1) return value.toFixed(2);
  const names = ['', 'k', 'M', 'G', 'T', 'P'];
  const power = Math.min(names.length - 1, Math.floor(Math.log10(Math.abs(value)) / 3));
  return trim(value / 1000 ** power, digits) + ' ' + names[power];
}

function trim(value, digits) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

function bytes(value) {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  while (value >= 1024 && power < names.length - 1) { value /= 1024; power += 1; }
  return `${power ? trim(value, 3) : Math.round(value)} ${names[power]}`;
}

function time(seconds) {
  if (seconds === 0) return '0 s';
  if (seconds < 1e-3) return `${trim(seconds * 1e6, 3)} µs`;
  if (seconds < 1) return `${trim(seconds * 1e3, 3)} ms`;
  if (seconds < 60) return `${trim(seconds, 2)} s`;
  const [minutes, hours, days] = [60, 3600, 86400].map(unit => Math.floor(seconds / unit));
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${days} d ${hours % 24} h`;
}

const percent = share => `${trim(share * 100, 2)} %`;

// Rates between two answers of the relay

let last = null;

function ratesOf(stats) {
  const before = last;
  last = stats;
  const seconds = before ? stats.uptime_seconds - before.uptime_seconds : 0;
  // No answer before this one, or the relay was started anew.
  if (!(seconds > 0)) return null;
  const rate = pick => Math.max(0, (pick(stats) - pick(before)) / seconds);
  const counter = name => rate(one => one.counters[name]);
  return {
    messages_in: counter('messages_in'), copies_out: counter('copies_out'),
    bytes_in: counter('bytes_in'), bytes_out: counter('bytes_out'),
    cpu: stats.process && before.process ? rate(one => one.process.cpu_seconds) : null,
    batches: rate(one => one.batches), batch_messages: rate(one => one.batch_messages),
    threads: stats.threads.map((thread, index) => ({
      busy: Math.min(1, rate(one => one.threads[index].busy_seconds)),
      turns: rate(one => one.threads[index].turns),
    })),
  };
}

// Charts

const charts = [
  { title: 'Messages per second', unit: short, lines: [['in', 'messages_in'], ['copies out', 'copies_out']] },
  { title: 'Bytes per second', unit: bytes, lines: [['in', 'bytes_in'], ['out', 'bytes_out']] },
  { title: 'Delay through the relay', unit: time, lines: [['median', 'p50'], ['99 of 100', 'p99']] },
  { title: 'Peers', unit: short, lines: [['connected', 'peers']] },
  { title: 'Waiting for slow peers', unit: bytes, lines: [['all', 'pending'], ['worst', 'worst']] },
  { title: 'Processor and memory', unit: null, lines: [['cores', 'cpu'], ['memory', 'memory']] },
];

function buildCharts() {
  for (const chart of charts) {
    const box = element('figure', '', 'chart');
    const head = element('p');
    chart.keys = chart.lines.map(([name], index) => {
      const key = element('span', name, `key ${index ? 'second' : 'first'}`);
      head.append(key);
      return key;
    });
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', chart.title);
    const grid = document.createElementNS(SVG, 'path');
    grid.setAttribute('class', 'grid');
    grid.setAttribute('d', `M0,50H${SAMPLES_MAX}`);
    chart.svg = svg;
    svg.append(grid);
    chart.paths = chart.lines.map((line, index) => {
      const path = document.createElementNS(SVG, 'path');
      path.setAttribute('class', index ? 'second' : 'first');
      svg.append(path);
      return path;
    });
    chart.foot = element('p');
    chart.samples = chart.lines.map(() => []);
    box.append(element('h2', chart.title), head, svg, chart.foot);
    byId('charts').append(box);
  }
}

function drawCharts(now) {
  for (const chart of charts) {
    chart.lines.forEach(([, name], index) => {
      const samples = chart.samples[index];
      samples.push(now[name] ?? 0);
      if (samples.length > SAMPLES_MAX) samples.shift();
    });
    const highest = samples => Math.max(...samples, 0);
    // Lines of different units have scales of their own.
    const shared = chart.unit && Math.max(...chart.samples.map(highest));
    const span = Math.min(SAMPLES_MAX, Math.max(SPAN_MIN, chart.samples[0].length)) - 1;
    chart.svg.setAttribute('viewBox', `0 0 ${span} 100`);
    chart.samples.forEach((samples, index) => {
      const top = (chart.unit ? shared : highest(samples)) || 1;
      const start = span + 1 - samples.length;
      const points = samples.map((value, at) => `${start + at},${(98 - 94 * value / top).toFixed(1)}`);
      chart.paths[index].setAttribute('d', points.length > 1 ? 'M' + points.join('L') : '');
      const unit = chart.unit ?? [short, bytes][index];
      chart.keys[index].textContent = `${chart.lines[index][0]} ${unit(samples[samples.length - 1])}`;
    });
    const seconds = chart.samples[0].length * EVERY_MS / 1000;
    const tops = chart.unit ? chart.unit(shared)
      : `${short(highest(chart.samples[0]))} cores, ${bytes(highest(chart.samples[1]))}`;
    chart.foot.replaceChildren(element('span', `last ${time(seconds)}`), element('span', `highest ${tops}`));
  }
}

// Tiles and tables

function tile(name, value, more) {
  const box = element('div', '', 'tile');
  box.append(element('span', name, 'name'), element('b', value), element('span', more));
  return box;
}

function showTiles(stats, rates) {
  const peers = stats.peers_inbound + stats.peers_outbound;
  const { delays, process } = stats;
  const perBatch = rates && rates.batches > 0 ? rates.batch_messages / rates.batches : 0;
  byId('tiles').replaceChildren(
    tile('Peers', short(peers, 4), `${short(stats.peers_outbound)} of them dialled`),
    tile('Connections', short(stats.connections, 4), `of ${short(stats.connections_max)} at most`),
    tile('Messages in', rates ? `${short(rates.messages_in)}/s` : '–', `${short(stats.counters.messages_in)} so far`),
    tile('Copies out', rates ? `${short(rates.copies_out)}/s` : '–', `${short(stats.counters.copies_out)} so far`),
    tile('Delay, 99 of 100', delays.count ? time(delays.p99_seconds) : '–',
      delays.count ? `median ${time(delays.p50_seconds)}, worst ${time(delays.max_seconds)}` : 'nothing relayed lately'),
    tile('Waiting for slow peers', bytes(stats.pending_bytes),
      stats.pending_peers ? `${short(stats.pending_peers)} slow, worst ${bytes(stats.pending_bytes_worst)} of ${bytes(stats.pending_bytes_max)}` : 'all keep up'),
    tile('Queue to writers', bytes(stats.queue_bytes),
      `of ${bytes(stats.queue_bytes_max)}; readers waited ${short(stats.counters.queue_waits)}×`),
    tile('Memory for peers', bytes(stats.memory_held_bytes),
      `of ${bytes(stats.memory_max_bytes)}; ${short(stats.counters.closed_memory)} closed for it`),
    tile('Batch', perBatch ? short(perBatch) : '–', 'messages written at a time'),
    tile('Remembered ids', short(stats.dedup_entries),
      stats.dedup_evicted_early ? `${short(stats.dedup_evicted_early)} forgotten early` : `of ${short(stats.dedup_entries_max)}`),
    tile('Memory', process ? bytes(process.resident_bytes) : '–',
      process ? `${short(process.open_fds)} of ${short(process.max_fds)} files, ${process.threads} threads` : 'not told here'),
    tile('Processor', rates && rates.cpu !== null ? percent(rates.cpu) : '–', '100 % is one core'),
  );
}

function fillRows(table, rows, empty) {
  const body = byId(table).tBodies[0];
  if (rows.length === 0) {
    const cell = element('td', empty, 'none');
    cell.colSpan = 9;
    rows = [[cell]];
  }
  body.replaceChildren(...rows.map(cells => {
    const row = element('tr');
    row.append(...cells);
    return row;
  }));
}

const cell = text => element('td', text);
const number = text => element('td', text, 'number');

function withSmall(made, text) {
  made.append(' ', element('small', text));
  return made;
}

function peerCell(peer) {
  const made = element('td', peer.pid ?? '(no pid yet)', 'peer');
  made.append(element('br'), element('small', peer.link ? `${peer.address}, dialled as ${peer.link}` : peer.address));
  return made;
}

function showPeers(answer) {
  byId('shown').textContent = answer.total > answer.peers.length
    ? `the first ${answer.peers.length} of ${answer.total}` : `${answer.total} connected`;
  fillRows('peers', answer.peers.map(peer => [
    peerCell(peer), number(bytes(peer.pending_bytes)),
    withSmall(number(bytes(peer.bytes_in)), `${bytes(peer.bytes_in_rate)}/s`),
    withSmall(number(bytes(peer.bytes_out)), `${bytes(peer.bytes_out_rate)}/s`),
    withSmall(number(short(peer.messages_in)), `${short(peer.messages_in_rate)}/s`),
    withSmall(number(short(peer.messages_out)), `${short(peer.messages_out_rate)}/s`),
    number(time(Math.floor(peer.age_seconds))),
  ]), 'No peer is connected.');
  fillRows('left', answer.left.slice(0, 20).map(peer => [
    peerCell(peer), element('td', peer.reason, 'reason'), number(time(Math.floor(peer.left_seconds))),
    number(time(Math.floor(peer.age_seconds))), number(bytes(peer.bytes_in)), number(bytes(peer.bytes_out)),
  ]), 'Nobody left since the relay was started.');
}

// What people call counters; the test of this page knows which have to be here.
const WORDS = {
  closed_peer: 'the peer hung up', closed_http: 'a plain HTTP request was answered', closed_slow: 'read too slowly',
  closed_stalled: 'stopped reading', closed_silent: 'answered no ping', closed_protocol: 'broke the WebSocket protocol',
  closed_handshake: 'its request took too long', closed_itself: 'a link to this relay itself',
  closed_stopping: 'the relay stops', closed_broken: 'the operating system failed',
  closed_memory: 'memory was full, and it held the most',
  rejected_full: 'as many connections as may be', rejected_pace: 'all together came too fast',
  rejected_address_full: 'its address had as many connections as it may',
  rejected_address_pace: 'its address came too fast', rejected_memory: 'memory was nearly full',
  rejected_origin: 'a page of another origin', rejected_token: 'token missing or wrong',
  rejected_proxy_header: 'a proxy without its PROXY header', rejected_www: 'too many asked for files',
  rejected_address_www: 'its address asked for too many files', rejected_head: 'no acceptable HTTP',
  rejected_tls_full: 'too many TLS handshakes',
  dropped_duplicate_id: 'heard before', dropped_duplicate_hash: 'the same answer came before',
  dropped_lost_ack: 'answer to nobody who is here', dropped_not_found: '"not found" after others had data',
  dropped_same_hash: 'the asker has it', dropped_echo: 'answer to who said it', dropped_skipped: 'the asker was named in ><',
  dropped_link_down: 'frames for a link that was down',
  refused_too_big: 'too big', refused_broken: 'not JSON', refused_too_deep: 'nested too deep',
  ignored: 'heartbeats and empty frames', binary_in: 'binary frames', unknown_verbs: 'verbs of no meaning here',
};

function showCounters(table, stats, prefixes, empty) {
  const rows = Object.entries(stats.counters)
    .filter(([name, value]) => value > 0 && prefixes.some(prefix => name.startsWith(prefix)))
    .sort((one, other) => other[1] - one[1])
    .map(([name, value]) => [cell(WORDS[name] ?? name.replaceAll('_', ' ')), number(value.toLocaleString('en'))]);
  fillRows(table, rows, empty);
}

function showThreads(stats, rates) {
  fillRows('threads', stats.threads.map((thread, index) => {
    const rate = rates && rates.threads[index];
    return [cell(thread.name), number(rate ? percent(rate.busy) : '–'), number(rate ? short(rate.turns) : '–'),
      number(thread.name.startsWith('writer') ? short(thread.queued) : '')];
  }), 'none');
  byId('links-part').hidden = stats.links.length === 0;
  fillRows('links', stats.links.map(link => [
    cell(link.url), element('td', link.is_up ? 'up' : 'down', link.is_up ? 'good' : 'bad'), number(short(link.opened)),
  ]), 'none');
}

function showState(text, kind, trouble) {
  const state = byId('state');
  if (state.textContent !== text) state.textContent = text;
  state.className = `state ${kind}`;
  byId('trouble').hidden = trouble.length === 0;
  byId('trouble').replaceChildren(...trouble.map(line => element('li', line)));
}

function show(stats, answer) {
  const rates = ratesOf(stats);
  byId('about').textContent = `version ${stats.version} · pid ${stats.pid} · up ${time(Math.floor(stats.uptime_seconds))}`;
  const trouble = [...stats.stuck, ...stats.unready];
  if (stats.stuck.length) showState('stuck', 'bad', trouble);
  else if (stats.unready.length) showState('not ready', 'wait', trouble);
  else showState('ready', 'good', []);
  showTiles(stats, rates);
  if (rates) {
    drawCharts({
      ...rates, peers: stats.peers_inbound + stats.peers_outbound, pending: stats.pending_bytes,
      worst: stats.pending_bytes_worst, memory: stats.process?.resident_bytes,
      p50: stats.delays.p50_seconds, p99: stats.delays.p99_seconds,
    });
  }
  showPeers(answer);
  showCounters('drops', stats, ['dropped_', 'refused_', 'ignored', 'binary_', 'unknown_'], 'Nothing was dropped or refused.');
  showCounters('ends', stats, ['closed_'], 'None so far.');
  showCounters('rejections', stats, ['rejected_'], 'Nobody was turned away.');
  showThreads(stats, rates);
}

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${path} answers ${response.status}`);
  return response.json();
}

async function update() {
  try {
    const peers = `peers.json?limit=${PEERS_MAX}&sort=${byId('sort').value}`;
    const [stats, answer] = await Promise.all([ask('stats.json'), ask(peers)]);
    show(stats, answer);
  } catch (error) {
    showState('no answer', 'bad', [`The relay does not answer (${error.message}); what is shown below is old.`]);
  }
}

async function run() {
  buildCharts();
  byId('sort').addEventListener('change', update);
  for (;;) {
    // A page nobody looks at asks for nothing.
    if (!document.hidden) await update();
    await new Promise(resolve => setTimeout(resolve, EVERY_MS));
  }
}

run();
