// Reads the knobs, asks for the day that they make, draws the answer. One question is out at a time, and only the newest
// one waits; when the knobs rest, the same day is asked for once more, exactly.
"use strict";

const RESTING_MS = 700;
const WIDTH = 460, HEIGHT = 230, LEFT = 52, RIGHT = 10, TOP = 12, BOTTOM = 58;
const COLOURS = { blue: "var(--blue)", orange: "var(--orange)", green: "var(--green)", pink: "var(--pink)", red: "var(--vermillion)" };
const form = document.getElementById("knobs");
const knobs = [...form.querySelectorAll("input, select")];
const reader = Math.random().toString(36).slice(2);
const state = { out: false, waiting: null, rest: null, shown: null };

const steps = (knob) => JSON.parse(knob.dataset.steps);
const chosen = (knob) => steps(knob)[Number(knob.value)];
const defaults = new Map(knobs.map((knob) => [knob.id, knob.value]));

function settings() {
  const query = new URLSearchParams();
  for (const knob of knobs) if (knob.value !== defaults.get(knob.id)) query.set(knob.id, chosen(knob));
  return query;
}

function readAddress() {
  const problems = [];
  const words = new URLSearchParams(location.search);
  for (const knob of knobs) knob.value = defaults.get(knob.id);
  for (const [name, word] of words) {
    const knob = knobs.find((one) => one.id === name);
    const at = knob ? steps(knob).findIndex((step) => String(step) === word) : -1;
    if (at >= 0) knob.value = String(at);
    else problems.push(knob ? `${name} = ${word}: is no step of it; the default is used` : `${name}: there is no such setting`);
  }
  say(problems);
}

function say(problems) {
  const place = document.getElementById("problem");
  place.hidden = problems.length === 0;
  place.textContent = problems.join("; ");
}

function label() {
  for (const knob of knobs) {
    if (knob.type !== "range") continue;
    const value = chosen(knob);
    const text = value === "none" ? "none" : `${value.toLocaleString("en")} ${knob.dataset.unit}`;
    document.getElementById(`${knob.id}-value`).textContent = text;
    knob.setAttribute("aria-valuetext", text);
  }
  const query = settings().toString();
  document.getElementById("download").href = "scenario.toml" + (query ? `?${query}` : "");
  return query;
}

// What stands there is of other knobs until the answer to these has come: figures, labels and charts say so.
function outdated(is) {
  document.getElementById("answer").classList.toggle("old", is);
  for (const place of ["figures", "charts"]) document.getElementById(place).setAttribute("aria-busy", String(is));
  document.getElementById("old").hidden = !is || state.shown === null;
}

function moved() {
  const query = label();
  outdated(query !== state.shown);
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  clearTimeout(state.rest);
  ask(query, "law", performance.now());
}

async function ask(query, fidelity, since) {
  if (state.out) {
    state.waiting = [query, fidelity, since];
    if (state.exact) state.abort.abort();
    return;
  }
  state.out = true;
  state.exact = fidelity === "exact";
  state.abort = new AbortController();
  document.getElementById("answer").classList.add("busy");
  const words = new URLSearchParams(query);
  words.set("fidelity", fidelity);
  words.set("reader", reader);
  try {
    const response = await fetch(`play?${words}`, { signal: state.abort.signal });
    const answer = await response.json();
    if (answer.problems) say(answer.problems);
    else if (!answer.superseded) {
      draw(answer);
      state.shown = query;
      outdated(query !== settings().toString());
      if (fidelity === "law") told(performance.now() - since);
      if (answer.fidelity === "law") state.rest = setTimeout(() => ask(query, "exact", performance.now()), RESTING_MS);
    }
  } catch (error) {
    if (error.name !== "AbortError") say(["The server does not answer; start capsim app again."]);
  }
  state.out = false;
  document.getElementById("answer").classList.remove("busy");
  if (state.waiting) {
    const next = state.waiting;
    state.waiting = null;
    clearTimeout(state.rest);
    ask(...next);
  }
}

// From the move to the new picture, for whoever measures: how many times so far, and how long the last took [ms].
function told(tookMs) {
  const { dataset } = document.getElementById("answer");
  dataset.redraws = Number(dataset.redraws || 0) + 1;
  dataset.tookMs = Math.round(tookMs);
}

function draw(answer) {
  const s = answer.series;
  const how = answer.fidelity === "exact" ? "played arrival by arrival" : "first answer, by the law of the arrivals";
  const status = document.getElementById("status");
  status.textContent = `${how}, ${answer.took_ms} ms`;
  status.dataset.fidelity = answer.fidelity;
  const list = document.getElementById("figures");
  list.replaceChildren();
  for (const { name, value, unit } of answer.figures) {
    const group = document.createElement("div");
    const term = document.createElement("dt"), detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = `${value === null ? "-" : value.toLocaleString("en")} ${unit}`;
    group.append(term, detail);
    list.append(group);
  }
  lines("memory", s.time_h, "MiB", [
    { name: "billed, by page cache", low: s.billed_lower_mib, high: s.billed_upper_mib, colour: "orange" },
    { name: "resident set, to its peak", low: s.rss_mib, high: s.rss_peak_mib, colour: "blue" },
    { name: "resident set, mean", line: s.rss_mib, colour: "blue" },
    { name: "heap", line: s.heap_mib, colour: "green", dash: "6 3" },
  ], [["heap cap", s.heap_cap_mib], ["container limit", s.container_mib]]);
  lines("buffers", s.time_h, "items", [
    { name: "events", line: s.events_buffer, colour: "blue" },
    { name: "revenue", line: s.revenue_buffer, colour: "red", dash: "6 3" },
    { name: "heartbeats", line: s.heartbeats_buffer, colour: "green", dash: "2 2" },
  ], [["cap", s.buffer_cap]]);
  lines("losses", s.time_h, "items/s", [
    { name: "events", line: s.events_lost_hz, colour: "blue" },
    { name: "revenue", line: s.revenue_lost_hz, colour: "red", dash: "6 3" },
    { name: "heartbeats", line: s.heartbeats_lost_hz, colour: "green", dash: "2 2" },
  ], [], "no item is lost");
  bars("bill", answer.bill);
}

const element = (name, attributes, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

function ticks(top) {
  const raw = top / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
  const found = [];
  for (let value = 0; value <= top * 1.001; value += step) found.push(Number(value.toPrecision(6)));
  return found;
}

const known = (values) => values.filter((value) => value !== null);

function lines(place, time, unit, parts, caps, nothing) {
  let top = Math.max(...parts.flatMap((part) => known(part.line || part.high)), 0);
  const empty = top === 0;
  const reach = top * 2.5;
  const near = caps.filter(([, value]) => value !== null && value <= reach);
  const far = caps.filter(([, value]) => value !== null && value > reach);
  top = Math.max(top, ...near.map(([, value]) => value), empty ? 1 : 0) * 1.08;
  const x = (hour) => LEFT + (hour / 24) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const svg = frame(place, top, y);
  for (let hour = 0; hour <= 24; hour += 6) {
    svg.append(element("text", { x: x(hour), y: HEIGHT - BOTTOM + 15, "text-anchor": hour === 24 ? "end" : "middle" }, hour === 24 ? "24 h" : String(hour)));
  }
  const path = (values, back) => values.map((value, at) => value === null ? "" : `${x(time[at]).toFixed(1)},${y(value).toFixed(1)}`).filter(Boolean);
  for (const part of parts) {
    const colour = COLOURS[part.colour];
    if (part.line) svg.append(element("polyline", { class: "line", points: path(part.line).join(" "), stroke: colour, "stroke-dasharray": part.dash || "none" }));
    else svg.append(element("polygon", { points: [...path(part.high), ...path(part.low).reverse()].join(" "), fill: colour, opacity: 0.28 }));
  }
  for (const [name, value] of near) {
    svg.append(element("line", { class: "cap", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: WIDTH - RIGHT - 2, y: y(value) - 4, "text-anchor": "end" }, `${name} ${value.toLocaleString("en")} ${unit}`));
  }
  if (far.length) svg.append(element("text", { x: WIDTH - RIGHT, y: TOP, "text-anchor": "end" }, `far above: ${far.map(([name, value]) => `${name} ${value.toLocaleString("en")}`).join(", ")}`));
  if (empty && nothing) svg.append(element("text", { x: WIDTH / 2, y: HEIGHT / 2 - 20, "text-anchor": "middle" }, nothing));
  key(svg, parts);
  const highest = parts.filter((part) => part.line).map((part) => `${part.name} ${Math.max(...known(part.line), 0).toLocaleString("en")}`);
  show(place, svg, `Over 24 hours, highest values in ${unit}: ${highest.join(", ")}.`);
}

function frame(place, top, y) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  for (const value of ticks(top)) {
    svg.append(element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toLocaleString("en")));
  }
  svg.append(element("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0) }));
  return svg;
}

function key(svg, parts) {
  parts.forEach((part, at) => {
    const left = LEFT + (at % 2) * 205, top = HEIGHT - 24 + Math.floor(at / 2) * 16 - (parts.length > 2 ? 4 : 0);
    const colour = COLOURS[part.colour];
    if (part.line) svg.append(element("line", { class: "line", x1: left, x2: left + 22, y1: top, y2: top, stroke: colour, "stroke-dasharray": part.dash || "none" }));
    else svg.append(element("rect", { x: left, y: top - 5, width: 22, height: 10, fill: colour, opacity: 0.28 }));
    svg.append(element("text", { x: left + 27, y: top + 4 }, part.name));
  });
}

function bars(place, bill) {
  const kinds = { memory: "blue", cpu: "orange", egress: "green", volume: "pink" };
  const names = Object.keys(bill.services);
  const sums = names.map((name) => Object.values(bill.services[name]).reduce((a, b) => a + b, 0));
  const top = Math.max(...sums, 0.01) * 1.25;
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const svg = frame(place, top, y);
  names.forEach((name, at) => {
    const width = (WIDTH - LEFT - RIGHT) / names.length, left = LEFT + at * width + width * 0.2;
    let reached = 0;
    for (const [line, colour] of Object.entries(kinds)) {
      const usd = bill.services[name][line] || 0;
      svg.append(element("rect", { x: left, y: y(reached + usd), width: width * 0.6, height: y(reached) - y(reached + usd), fill: COLOURS[colour], stroke: "#fff" }));
      reached += usd;
    }
    svg.append(element("text", { x: left + width * 0.3, y: y(reached) - 5, "text-anchor": "middle" }, reached.toFixed(2)));
    svg.append(element("text", { x: left + width * 0.3, y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, name));
  });
  Object.entries(kinds).forEach(([line, colour], at) => {
    svg.append(element("rect", { x: LEFT + at * 95, y: HEIGHT - 30, width: 14, height: 10, fill: COLOURS[colour] }));
    svg.append(element("text", { x: LEFT + at * 95 + 19, y: HEIGHT - 21 }, line));
  });
  const all = `all ${bill.amount.toFixed(2)} (${bill.lower.toFixed(2)} to ${bill.upper.toFixed(2)} by page cache)`;
  svg.append(element("text", { x: LEFT, y: HEIGHT - 4 }, all));
  show(place, svg, `Usage of the day in US dollars: ${names.map((name, at) => `${name} ${sums[at].toFixed(2)}`).join(", ")}; ${all}.`);
}

function show(place, svg, words) {
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", words);
  document.getElementById(place).replaceChildren(svg);
}

form.addEventListener("input", moved);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(moved));
addEventListener("popstate", () => { readAddress(); moved(); });
readAddress();
ask(label(), "law", performance.now());
