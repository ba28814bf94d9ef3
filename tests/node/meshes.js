// Many relays of the npm package in one process, one for each scenario of the differential tests.
//
// argv[2] = {"kind": "mesh" | "stock"}, as in relay.js. Each line of stdin, {"max": 90000000, "peers": [url], "port": 0},
// starts a relay that knows nothing of the others; the answer is its port on stdout.
'use strict';
const { kind } = JSON.parse(process.argv[2]);
const mesh = kind === 'mesh';
console.log = console.error; // What Gun logs. Stdout has the ports.

const http = require('http');
const Gun = require(mesh ? 'gun/gun' : 'gun');
if (mesh) require('gun/lib/wire');

let count = 0;
function start({ max, peers, port }) {
  const server = http.createServer((request, response) => {
    response.writeHead(200);
    response.end('a Gun relay');
  });
  const gun = Gun({
    web: server,
    peers: peers || [],
    axe: false,
    max,
    file: `radata${count++}`,
    localStorage: false,
    radisk: !mesh,
    multicast: false,
    stats: false,
  });
  if (mesh) repeatOnly(gun._);
  // A relay says `hi` to whoever is there a millisecond after it started: nobody, if the port is told later.
  const tell = () => process.stdout.write(`${server.address().port}\n`);
  server.listen(port || 0, '127.0.0.1', () => setTimeout(tell, 10));
}

// The layer above the mesh says again whatever it hears, and has nothing else to say.
function repeatOnly(root) {
  root.tag.in = root.tag.out = undefined;
  root.on('in', (message) => root.on('out', message));
  root.on('out', root.opt.mesh.say);
}

require('readline').createInterface({ input: process.stdin })
  .on('line', (line) => start(JSON.parse(line)))
  .on('close', () => process.exit(0));
