"use strict";
// The page: polls the API, and draws; call.js has the view of one call.
// Text of peers is only ever set as text, never as HTML.

const STATS_MS = 2000, CALLS_MS = 5000, POINTS = 450, PAGE = 50;
const COLORS = ["#2e7dd1", "#2a9d5c", "#d9822b", "#b4428e", "#c0392b", "#7a6ff0", "#8a8f98"];

const find = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

let token = "";  // of this page only: it is stored nowhere
async function ask(path) {
  const used = token;
  const headers = used ? { authorization: `Bearer ${used}` } : {};
  const reply = await fetch(path, { headers, signal: AbortSignal.timeout(10000) });
  if (reply.status === 401 && used === token) {
    token = "";  // a wrong one is not sent again
    find("login").hidden = false;
  }
  const body = await reply.json();
  if (!reply.ok && !("ok" in body)) throw new Error(body.error ? body.error.message : reply.statusText);
  return body;
}

// --- words and numbers --------------------------------------------------------------------------

const count = (value) => {
  const units = ["", "k", "M", "G", "T"];
  let at = 0;
  while (Math.abs(value) >= (at ? 999.5 : 9999.5) && at < units.length - 1) { value /= 1000; at += 1; }
  return (Math.abs(value) < 99.95 ? String(Number(value.toPrecision(3))) : value.toFixed(0)) + units[at];
};
const percent = (ratio) => `${(100 * ratio).toFixed(ratio && ratio < 0.1 ? 1 : 0)} %`;
const words = (text) => text.replaceAll("_", " ");
const timeOf = (seconds) => new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${Math.floor(seconds % 60)}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ${Math.floor(seconds % 3600 / 60)}m`;
  return `${Math.floor(seconds / 86400)}d ${Math.floor(seconds % 86400 / 3600)}h`;
}

// An identifier is text, or bytes in base64; what cannot be seen, or turns text around, is shown as an escape.
const bytesOf = (id) => typeof id === "string"
  ? new TextEncoder().encode(id)
  : Uint8Array.from(atob(id.base64), (letter) => letter.charCodeAt(0));
const HIDDEN = /[\p{C}\p{Z}\\]/gu;
function shown(id) {
  if (typeof id !== "string") {
    return [...bytesOf(id)].map((byte) => byte > 32 && byte < 127 ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  }
  return id.replace(HIDDEN, (letter) => letter === " " ? letter : letter === "\\" ? "\\\\"
    : `\\u{${letter.codePointAt(0).toString(16)}}`);
}
const inPath = (id) => [...bytesOf(id)].map((byte) => /[A-Za-z0-9_.~-]/.test(String.fromCharCode(byte))
  ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("");

// --- charts -------------------------------------------------------------------------------------

const charts = [];
function addChart(title, series, value) {
  const box = make("div", { className: "chart" }, make("h2", { textContent: title }));
  find("charts").append(box);
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--faint"), grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  const plot = new uPlot({
    width: Math.max(box.clientWidth - 24, 200), height: 170, cursor: { y: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
    axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map(timeOf) }, { ...axis, size: 56, values: (_, ticks) => ticks.map(value || count) }],
    series: [{ label: "at", value: (_, time) => time === null ? "–" : timeOf(time) }, ...series.map((name, at) => ({
      label: name, stroke: COLORS[at % COLORS.length], width: 1.5, spanGaps: true,
      fill: series.length === 1 ? COLORS[at] + "22" : undefined,
      value: (_, number) => number === null ? "–" : (value || count)(number),
    }))],
  }, [[], ...series.map(() => [])], box);
  new ResizeObserver(() => plot.setSize({ width: Math.max(box.clientWidth - 24, 200), height: 170 })).observe(box);
  const rows = [];
  charts.push(plot);
  return (time, values) => {
    rows.push([time, ...values]);
    if (rows.length > POINTS) rows.shift();
    plot.setData(rows[0].map((_, column) => rows.map((row) => row[column])));
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: rows.length - 1 });
  };
}

// --- statistics ---------------------------------------------------------------------------------

let draw = null, before = null;

function rateOf(now) {
  const seconds = now.time - before.time;
  return (name) => Math.max(0, (now.totals[name] - before.totals[name]) / seconds);
}

// The average of the values that a histogram counted since the last reading; null if there were none.
function averageOf(now, name) {
  const [one, other] = [now, before].map((reading) => reading.totals.histograms[name]);
  const number = [one, other].map((histogram) => histogram.counts.reduce((sum, each) => sum + each, 0));
  return number[0] > number[1] ? (one.sum - other.sum) / (number[0] - number[1]) : null;
}

function prepare(stats) {
  const drops = Object.keys(stats.totals).filter((name) => name.startsWith("drop_"));
  const shards = stats.shards.map((shard) => `shard ${shard.shard}`);
  const reasons = drops.map((name) => words(name.slice(5)));
  draw = {
    drops,
    calls: addChart("Calls", ["calls", "sessions"]),
    packets: addChart("Packets a second, by path", ["kernel", "user space"]),
    dropped: addChart("Dropped packets a second, by reason", reasons),
    cpu: addChart("CPU of each shard", shards, percent),
    mos: addChart("MOS of streams that ended, average", ["MOS"], (value) => value.toFixed(1)),
    loss: addChart("Lost packets of streams that ended, average", ["lost"], percent),
  };
}

function showStats(now) {
  find("version").textContent = now.version;
  if (!draw) prepare(now);
  if (before && now.time > before.time && now.supervisor.running_since === before.supervisor.running_since) {
    const rate = rateOf(now), totals = now.totals;
    const kernel = rate("kernel_packets"), all = rate("packets_in");
    const dropped = draw.drops.map(rate);
    const cpu = now.shards.map((shard, at) => before.shards[at]
      ? Math.max(0, (shard.cpu_s - before.shards[at].cpu_s) / (now.time - before.time)) : null);
    draw.calls(now.time, [totals.calls, totals.sessions]);
    draw.packets(now.time, [kernel, Math.max(0, all - kernel)]);
    draw.dropped(now.time, dropped);
    draw.cpu(now.time, cpu);
    draw.mos(now.time, [averageOf(now, "stream_mos")]);
    draw.loss(now.time, [averageOf(now, "stream_loss")]);
    showFigures([
      ["calls", count(totals.calls)],
      ["packets a second", count(Math.round(all))],
      ["in the kernel", all ? percent(Math.min(1, kernel / all)) : "–"],
      ["dropped a second", count(Math.round(dropped.reduce((sum, each) => sum + each, 0)))],
      ["ports free", totals.ports_total ? percent(totals.ports_free / totals.ports_total) : "–"],
      ["event loop late by", `${(1000 * totals.loop_lag_s).toFixed(1)} ms`],
      ["load of the busiest shard", `${totals.load_percent} %`],
      ["calls refused, for a limit", count(LIMITS.reduce((sum, name) => sum + totals[`refused_${name}`], 0))],
    ]);
    showShards(now.shards, cpu);
  }
  before = now;
}

function showFigures(figures) {
  find("figures").replaceChildren(...figures.map(([name, value]) =>
    make("div", { className: "figure" }, make("b", { textContent: value }), make("span", { className: "faint", textContent: name }))));
}

const LIMITS = ["max_calls", "max_sockets", "max_cpu", "max_bandwidth", "ports", "descriptors"];
const limitsOf = (shard) => LIMITS.filter((name) => shard[`at_${name}`]).join(", ");
const SHARDS = [
  ["shard", (shard) => shard.shard], ["state", (shard) => shard.state], ["calls", (shard) => count(shard.calls)],
  ["load", (shard) => `${shard.load_percent} %`], ["at its limit", (shard) => limitsOf(shard) || "–"],
  ["CPU", (shard, cpu) => cpu === null ? "–" : percent(cpu)], ["memory", (shard) => `${count(shard.memory_bytes)}B`],
  ["loop late", (shard) => `${(1000 * shard.loop_lag_s).toFixed(1)} ms`], ["ports free", (shard) => count(shard.ports_free)],
  ["restarts", (shard) => count(shard.restarts)], ["pid", (shard) => shard.pid],
];
function showShards(shards, cpu) {
  const table = find("shards");
  table.tHead.replaceChildren(make("tr", {}, ...SHARDS.map(([name]) => make("th", { textContent: name }))));
  table.tBodies[0].replaceChildren(...shards.map((shard, at) => make("tr", {}, ...SHARDS.map(([name, value]) =>
    make("td", { textContent: value(shard, cpu[at]), className: shardClass(name, shard) })))));
}

function shardClass(name, shard) {
  if (name === "state") return shard.state === "up" ? "good" : "bad";
  return name === "at its limit" && limitsOf(shard) ? "warn" : "";
}

function showState(text, kind) {
  const state = find("state");
  state.textContent = text;
  state.className = kind;
}

async function pollStats() {
  try {
    const [stats, ready] = await Promise.all([ask("/api/stats"), ask("/readyz")]);
    showStats(stats);
    const up = duration(Math.max(0, stats.time - stats.supervisor.running_since));
    const full = ready.limits.length ? `; new calls are refused: ${ready.limits.join(", ")} (${ready.at_limit} of ${stats.shards.length} shards)` : "";
    showState(ready.ok ? `ready, up for ${up}${full}` : ready.why, ready.ok && !full ? "good" : "warn");
  } catch (error) {
    showState(`no reply: ${error.message}`, "bad");
  }
}

// --- calls --------------------------------------------------------------------------------------

// The columns of a table of calls: heading, class, what is shown, and what is sorted by.
const idOf = (call) => make("a", { href: `#/call/${inPath(call.call_id)}`, textContent: shown(call.call_id), title: shown(call.call_id) });
const column = (name, key, kind = "", show = count) => [name, kind, (call) => show(call[key]), (call) => call[key]];
const LIVE = [
  ["call-id", "", idOf, null], column("media", "state", "", words), column("age", "age_s", "", duration),
  column("idle", "idle_s", "optional", duration), column("packets", "packets"), column("bytes", "bytes", "optional"),
  column("sessions", "sessions", "optional"), column("sockets", "sockets", "optional"), column("shard", "shard", "optional"),
];
const dateOf = (text) => new Date(text).toLocaleString([], { hour12: false });
const clientOf = (client) => client ? `${client.protocol} ${client.command}` : "–";
const ENDED = [
  ["call-id", "", idOf, null], column("ended", "end", "", dateOf), column("duration", "duration_s", "", duration),
  column("reason", "reason", "", words), ["ended by", "optional", (call) => clientOf(call.ended_by), (call) => clientOf(call.ended_by)],
  column("packets", "packets"), column("bytes", "bytes", "optional"), column("shard", "shard", "optional"),
];
let calls = [], ended = false, order = { by: "", down: true }, after = "", next = "";

function sortedCalls(columns) {
  const by = columns.find(([name]) => name === order.by);
  if (!by || !by[3]) return order.down ? calls : [...calls].reverse();
  const rank = (one, other) => one < other ? -1 : one > other ? 1 : 0;
  return [...calls].sort((one, other) => (order.down ? -1 : 1) * rank(by[3](one), by[3](other)));
}

function showCalls() {
  const table = find("calls"), columns = ended ? ENDED : LIVE;
  table.tHead.replaceChildren(make("tr", {}, ...columns.map(([name, kind], at) => {
    const sorted = order.by ? order.by === name : at === 0;
    const button = make("button", { type: "button", textContent: name + (sorted ? (order.down ? " ↓" : " ↑") : "") });
    button.addEventListener("click", () => { order = { by: name, down: sorted ? !order.down : true }; showCalls(); });
    return make("th", { className: kind, scope: "col" }, button);
  })));
  table.tBodies[0].replaceChildren(...sortedCalls(columns).map((call) => make("tr", {}, ...columns.map(([name, kind, show], at) => {
    const bad = name === "media" && ["one-way", "silent"].includes(call.state);
    return make("td", { className: at === 0 ? "id" : bad ? "bad" : kind }, show(call));
  }))));
}

async function pollCalls() {
  if (location.hash.startsWith("#/call/")) return;
  const which = find("which").value;
  try {
    const query = new URLSearchParams({ limit: PAGE, contains: find("contains").value });
    const from = after ? `&${which === "ended=true" ? "before" : "after"}=${after}` : "";
    const page = await ask(`/api/calls?${query}${which && `&${which}`}${from}`);
    if (which !== find("which").value) return;  // another list was chosen meanwhile
    calls = page.calls;
    ended = which === "ended=true";
    next = page.next ? (ended ? String(page.next) : inPath(page.next)) : "";
    find("next").hidden = !next && !after;
    find("next").textContent = next ? "Next page" : "First page";
    find("found").textContent = next || after ? `${calls.length} on this page` : `${calls.length} found`;
    showCalls();
  } catch (error) {
    find("found").textContent = error.message;
  }
}

// --- the page -----------------------------------------------------------------------------------

function route() {
  const one = location.hash.startsWith("#/call/");
  find("overview").hidden = one;
  find("call").hidden = !one;
  find("call").replaceChildren();
  if (one) pollCall(); else pollCalls();
}

function every(milliseconds, poll) {
  let busy = false;
  setInterval(async () => {
    if (busy || document.hidden) return;
    busy = true;
    await poll();
    busy = false;
  }, milliseconds);
}

let typing = 0;
find("contains").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { after = ""; pollCalls(); }, 300);
});
find("which").addEventListener("change", () => {
  after = "";
  order = { by: "", down: true };
  pollCalls();
});
find("search").addEventListener("submit", (event) => event.preventDefault());
find("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("token").value;
  find("token").value = "";
  find("login").hidden = true;
  pollStats();
  route();
});
find("next").addEventListener("click", () => { after = next; pollCalls(); });
window.addEventListener("hashchange", route);
pollStats();
route();
every(STATS_MS, pollStats);
every(CALLS_MS, pollCalls);
every(STATS_MS, pollCall);
