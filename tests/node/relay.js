// A Gun relay out of the npm package, for the tests: the peer relays of gunmetal, and the reference to run the tests against.
// It logs `listening on 127.0.0.1:PORT` to stderr as gunmetal does, stores in its working directory, and ends when its stdin ends.
//
// argv[2] = {"kind": "mesh" | "stock" | "axe", "port": 0, "peers": [url], "max": null, "gap": null}
//   mesh:  Gun's network layer alone: it stores nothing and says again what it hears
//   stock: the relay of the package without AXE: YSON, storage, every message flooded
//   axe:   the relay of the package as it comes
// "gun" in it is the release to run: "gun" | "gun-1240" | "gun-520".
'use strict';
const setup = JSON.parse(process.argv[2]);
const mesh = setup.kind === 'mesh';
const server = require('http').createServer((request, response) => {
  response.writeHead(200);
  response.end('a Gun relay');
});

const Gun = require(mesh ? setup.gun + '/gun' : setup.gun);
if (mesh) require(setup.gun + '/lib/wire');
const gun = Gun({
  web: server,
  peers: setup.peers,
  axe: setup.kind === 'axe',
  max: setup.max,
  gap: setup.gap,
  file: 'radata',
  localStorage: false,
  radisk: !mesh,
  multicast: false, // Everything stays on loopback.
  stats: false, // It would be kept inside the package and dial the peers of earlier runs.
});
if (mesh) repeatOnly(gun._);

// Takes the graph out of the middle: what the network layer hears goes straight back to it.
function repeatOnly(root) {
  root.tag.in = root.tag.out = undefined;
  root.on('in', (message) => root.on('out', message));
  root.on('out', root.opt.mesh.say);
}

server.listen(setup.port, '127.0.0.1', () => console.error(`listening on 127.0.0.1:${server.address().port}`));
process.stdin.resume().on('end', () => process.exit(0));
