'use strict';
// Sends POSTs at a fixed rate whatever the server does (open loop), over loopback; prints what became of them.

const http = require('node:http');
const { MIX, VARIANTS, text } = require('./records.cjs');

const { port, rate, seconds, record_bytes: bytes } = JSON.parse(process.argv[2]);
const GRACE_MS = 3000; // for answers that are still out at the end

const bodies = Object.fromEntries(
  Object.keys(MIX).map((kind) => [kind, Array.from({ length: VARIANTS }, (_, i) => text(kind, i, bytes[kind]))]),
);
// The mix as a fixed round of 20 requests, spread evenly.
const round = Array.from({ length: 20 }, (_, i) => ((i * 7) % 20) / 20);
const kinds = round.map((u) => (u < MIX.event ? 'event' : u < MIX.event + MIX.revenue ? 'revenue' : 'heartbeat'));

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const result = { sent: 0, answered: 0, errors: 0, late_ms: 0, slowest_ms: 0 };
const began = performance.now();

function send(number) {
  const kind = kinds[number % kinds.length];
  const body = bodies[kind][number % VARIANTS];
  const at = performance.now();
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const request = http.request({ port, host: '127.0.0.1', method: 'POST', path: `/${kind}`, agent, headers }, (response) => {
    response.resume();
    response.on('end', () => {
      result.answered++;
      const took = performance.now() - at;
      result.late_ms += took;
      result.slowest_ms = Math.max(result.slowest_ms, took);
    });
  });
  request.on('error', () => result.errors++);
  request.end(body);
  result.sent++;
}

const timer = setInterval(() => {
  const now = (performance.now() - began) / 1000;
  const due = Math.floor(Math.min(now, seconds) * rate);
  while (result.sent < due) send(result.sent);
  if (now < seconds) return;
  clearInterval(timer);
  setTimeout(finish, result.answered + result.errors < result.sent ? GRACE_MS : 0);
}, 4);

function finish() {
  const { late_ms: late, ...rest } = result;
  console.log(JSON.stringify({ ...rest, mean_ms: result.answered ? late / result.answered : null }));
  process.exit(0);
}
