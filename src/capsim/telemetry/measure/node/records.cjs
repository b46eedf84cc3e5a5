'use strict';
// The three kinds of record that the load sends and the live set is made of.

const MIX = { event: 0.6, revenue: 0.05, heartbeat: 0.35 };
const FIELDS = { event: 12, revenue: 11, heartbeat: 2 }; // plain fields beside times and the padding
const VARIANTS = 200; // of each kind; V8 keeps equal short texts once, so what is weighed must vary as the load does
const NESTED = { event: 9, revenue: 0, heartbeat: 0 };

/** A record of a kind as a JSON text of exactly `bytes` bytes, where its fields allow it. */
function text(kind, which, bytes) {
  const number = which % VARIANTS;
  const record = { id: `${kind}-${number}`, at: new Date(1.7e12 + number).toISOString() };
  if (kind === 'event') record.received = new Date(1.7e12 + number + 40).toISOString();
  for (let i = 0; i < FIELDS[kind]; i++) record[`field${i}`] = i % 3 ? `value ${number * 31 + i}` : number * 31 + i;
  if (NESTED[kind]) record.properties = {};
  for (let i = 0; i < NESTED[kind]; i++) record.properties[`key${i}`] = `nested ${number + i}`;
  record.padding = '';
  record.padding = 'x'.repeat(Math.max(0, bytes - JSON.stringify(record).length));
  return JSON.stringify(record);
}

/** What a server keeps of a record: parsed, with its times as dates. */
function parse(body) {
  const record = JSON.parse(body);
  record.at = new Date(record.at);
  if (record.received) record.received = new Date(record.received);
  return record;
}

module.exports = { MIX, VARIANTS, text, parse };
