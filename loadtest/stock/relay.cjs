// Stock Gun as a relay that stores nothing: node relay.cjs PORT on|off, the second being AXE.
const [port, axe] = process.argv.slice(2);
process.env.AXE = axe === 'on' ? 'true' : 'false';
const Gun = require('gun');
const server = require('http').createServer((request, response) => response.end());
const quiet = { radisk: false, localStorage: false, multicast: false, stats: false, log: () => {} };
Gun({ ...quiet, web: server, axe: axe === 'on' });
server.listen(Number(port), '127.0.0.1');
