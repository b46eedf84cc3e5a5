'use strict';
// Batch writers of three rules: kit (100 at a time, looks again), seed and fixed (the whole buffer; fixed looks again).

class Writer {
  /**
   * @param {{rules: string, batch: number, delay_ms: number, cap: number | null}} spec
   * @param {() => number} flushMs  how long a call to the database takes that begins now
   * @param {boolean} single  whether each item is a call of its own (heartbeats of the seed rules)
   */
  constructor(spec, flushMs, single) {
    this.spec = spec;
    this.flushMs = flushMs;
    this.single = single && spec.rules === 'seed';
    this.buffer = [];
    this.inFlight = 0;
    this.dropped = 0;
    this.written = 0;
    this.timer = null; // with seed and fixed, a timer that came due while a batch was out still counts as armed
  }

  add(record) {
    const { batch, cap } = this.spec;
    if (cap !== null && this.buffer.length >= cap) {
      this.dropped++;
      return;
    }
    this.buffer.push(record);
    if (this.buffer.length >= batch) {
      if (this.spec.rules !== 'kit') this.disarm();
      this.request();
    } else if (this.spec.rules === 'kit' || this.buffer.length === 1) {
      this.arm();
    }
  }

  arm() {
    if (this.timer !== null) return;
    this.timer = setTimeout(() => {
      if (this.spec.rules === 'kit') this.timer = null;
      this.flush();
    }, this.spec.delay_ms);
  }

  disarm() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  request() {
    setImmediate(() => this.flush());
  }

  async flush() {
    if (this.inFlight) return;
    if (this.spec.rules !== 'kit') this.disarm();
    if (!this.buffer.length) return;
    const rows = this.spec.rules === 'kit' ? this.buffer.splice(0, this.spec.batch) : this.buffer.splice(0);
    this.inFlight = rows.length;
    if (this.single) for (let i = 0; i < rows.length; i++) await call(null, this.flushMs());
    else await call(statement(rows), this.flushMs());
    this.written += this.inFlight;
    this.inFlight = 0;
    this.lookAgain();
  }

  lookAgain() {
    if (this.spec.rules === 'seed' || !this.buffer.length) return;
    if (this.buffer.length >= this.spec.batch) this.request();
    else this.arm();
  }
}

/** The text and the parameters of one INSERT of many rows, as a client library builds them. */
function statement(rows) {
  const values = [];
  const tuples = rows.map((row) => {
    const marks = Object.values(row).map((value) => {
      values.push(value !== null && typeof value === 'object' && !(value instanceof Date) ? JSON.stringify(value) : value);
      return `$${values.length}`;
    });
    return `(${marks.join(', ')})`;
  });
  return { text: `INSERT INTO records VALUES ${tuples.join(', ')}`, values };
}

/** A call to the database: holds its statement until it ends. */
function call(held, ms) {
  return new Promise((resolve) => {
    setTimeout((kept) => resolve(kept ? kept.values.length : 0), ms, held);
  });
}

module.exports = { Writer };
