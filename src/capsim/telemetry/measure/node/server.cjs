'use strict';
// A small ingestion server: POST /event, /revenue, /heartbeat go through three batch writers to a pretended database;
// GET /api/metrics tells memory and writers in the shape of the seed's endpoint.
// Started by `capsim measure` with its settings as one JSON argument; writes a JSON line a sample to descriptor 3.

const fs = require('node:fs');
const http = require('node:http');
const v8 = require('node:v8');
const vm = require('node:vm');
const { PerformanceObserver, constants } = require('node:perf_hooks');
const { parse, text } = require('./records.cjs');
const { Writer } = require('./writers.cjs');

const MIB = 1 << 20;
const SESSIONS = 2000; // whose last request is remembered: garbage that has grown old when the next one replaces it
const settings = JSON.parse(process.argv[2]);
const say = (line) => fs.writeSync(settings.fd, JSON.stringify(line) + '\n');

if (settings.weigh) weigh();
else serve();

/** Heap bytes of a kept record of each kind. */
function weigh() {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  const used = () => (collect(), collect(), process.memoryUsage().heapUsed);
  const rows = {};
  for (const kind of Object.keys(settings.record_bytes)) {
    // The first lot pays for the shapes of the objects.
    const keep = fill(kind, 2000);
    const before = used();
    keep.push(...fill(kind, 10000));
    rows[kind] = Math.round((used() - before) / 10000);
    keep.length = 0;
  }
  say({ row_bytes: rows });
}

function fill(kind, count) {
  return Array.from({ length: count }, (_, i) => parse(text(kind, i, settings.record_bytes[kind])));
}

function serve() {
  const gc = { minor: 0, major: 0, minor_ms: 0, major_ms: 0 };
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = { [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor', [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major' }[entry.detail.kind];
      if (!kind) continue; // incremental marking steps and weak callbacks belong to a full collection
      gc[kind]++;
      gc[`${kind}_ms`] += entry.duration;
    }
  });
  observer.observe({ entryTypes: ['gc'] });

  const live = fill('event', Math.round((settings.live_mib * MIB) / (settings.event_row_bytes || 1)));
  let loadedAt = null; // the first request
  const flushMs = () => {
    const s = loadedAt === null ? 0 : (Date.now() - loadedAt) / 1000;
    const stall = settings.stalls.find((w) => w.from_s <= s && s < w.from_s + w.length_s);
    return stall ? stall.flush_s * 1000 : settings.flush_ms;
  };
  const writers = {};
  for (const kind of Object.keys(settings.record_bytes)) writers[kind] = new Writer(settings.writer, flushMs, kind === 'heartbeat');
  const sessions = new Map();
  let requests = 0;

  const server = http.createServer((request, response) => {
    if (request.url === '/api/metrics') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(metrics()));
      return;
    }
    const writer = writers[request.url.slice(1)];
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      loadedAt ??= Date.now();
      if (!writer) {
        response.writeHead(404).end();
        return;
      }
      const record = parse(Buffer.concat(parts).toString('utf8'));
      sessions.set(requests % SESSIONS, context(request, record));
      writer.add(record);
      requests++;
      response.writeHead(202, { 'content-type': 'application/json' }).end('{"accepted":true}');
    });
  });

  /** What a production server tells, in whole MiB and whole minutes. */
  const metrics = () => {
    const mb = ([name, bytes]) => [name, `${Math.round(bytes / MIB)}MB`];
    const told = ([kind, writer]) => [
      kind === 'revenue' ? kind : `${kind}s`,
      { bufferSize: writer.buffer.length, totalFlushed: writer.written, totalFailed: 0, totalDropped: writer.dropped },
    ];
    return {
      timestamp: new Date(),
      memory: Object.fromEntries(Object.entries(process.memoryUsage()).map(mb)),
      uptime: `${Math.floor(process.uptime() / 60)} minutes`,
      batchWriters: Object.fromEntries(Object.entries(writers).map(told)),
      environment: 'measuring kit',
      nodeVersion: process.version,
    };
  };

  /** What a framework makes of a request: its headers, a checked copy of the body, a line for the log. */
  const context = (request, record) => {
    const headers = Object.fromEntries(Object.entries(request.headers));
    const checked = JSON.parse(JSON.stringify(record));
    const line = JSON.stringify({ level: 'debug', at: new Date(), url: request.url, headers, body: checked });
    return { headers, checked, line, at: new Date() };
  };

  const sample = () => {
    const memory = process.memoryUsage();
    const spaces = Object.fromEntries(v8.getHeapSpaceStatistics().map((s) => [s.space_name, s]));
    const cpu = process.cpuUsage();
    const all = Object.values(writers);
    const sum = (of) => all.reduce((total, writer) => total + of(writer), 0);
    say({
      t_s: process.uptime(),
      heapTotal: memory.heapTotal / MIB,
      heapUsed: memory.heapUsed / MIB,
      external: memory.external / MIB,
      arrayBuffers: memory.arrayBuffers / MIB,
      newSize: spaces.new_space.space_size / MIB,
      oldSize: spaces.old_space.space_size / MIB,
      oldUsed: spaces.old_space.space_used_size / MIB,
      loUsed: spaces.large_object_space.space_used_size / MIB,
      cpu_s: (cpu.user + cpu.system) / 1e6,
      gcMinor: gc.minor,
      gcMajor: gc.major,
      gcMinorMs: gc.minor_ms,
      gcMajorMs: gc.major_ms,
      reqs_or_count: requests,
      drop: sum((writer) => writer.dropped),
      buf: sum((writer) => writer.buffer.length),
      inflight: sum((writer) => writer.inFlight),
      loaded_s: loadedAt === null ? null : process.uptime() - (Date.now() - loadedAt) / 1000,
    });
  };

  server.listen(0, '127.0.0.1', () => {
    const limit = v8.getHeapStatistics().heap_size_limit / MIB;
    say({ port: server.address().port, v8: process.versions.v8, heap_size_limit_mib: limit, live_rows: live.length });
    sample();
    setInterval(sample, settings.sample_ms);
  });
  process.on('SIGTERM', () => process.exit(0));
}
