"use strict";
// The view of one call: verdicts, what nh knows of both ends, events. page.js, which is loaded next, shows it.

function rows(...pairs) {
  return make("table", { className: "leg" }, make("tbody", {}, ...pairs.filter(([, value]) => value !== "").map(([name, value, kind]) =>
    make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { textContent: value, className: kind || "" })))));
}

const quality = (stream) => [
  stream.encoding || `payload type ${stream.payload_type}`, `${count(stream.packets)} packets`, `${percent(stream.loss_ratio)} lost`,
  stream.jitter_ms === null ? "" : `jitter ${stream.jitter_ms.toFixed(1)} ms`, stream.mos === null ? "" : `MOS ${stream.mos.toFixed(1)}`,
  stream.reordered ? `${count(stream.reordered)} reordered` : "", stream.duplicates ? `${count(stream.duplicates)} duplicates` : "",
].filter(Boolean).join(", ");

const since = (span, ended) => `${duration(span)} ${ended ? "before the end" : "ago"}`;

function iceOf(ice, ended) {
  if (!ice) return "";
  if (!ice.expected) return "a lite end, which sends no checks";
  const refused = Object.entries(ice.refused).map(([reason, number]) => `${count(number)} ${words(reason)}`).join(", ");
  const passed = ice.checks ? `${count(ice.checks)} checks, the last ${since(ice.checked_s, ended)}, `
    + (ice.selected ? `nominated ${ice.selected}` : "nothing nominated yet") : "no check has passed";
  return refused ? `${passed}; refused ${refused}` : passed;
}

function legCard(title, leg, ended) {
  const dropped = Object.entries(leg.dropped).filter(([, number]) => number);
  return make("div", { className: "card" }, make("h3", { textContent: title }), rows(
    ["sends to", leg.advertised || leg.local], ["received on", leg.advertised ? leg.local : ""], ["announced", leg.announced || "nothing"],
    ["comes from", leg.source ? `${leg.source}${leg.latched ? ", latched" : ""}` : "nothing came yet", leg.source ? "" : "bad"],
    ["packets", `${count(leg.packets)}, ${count(leg.bytes)}B`], ["last packet", leg.idle_s === null ? "never" : since(leg.idle_s, ended)],
    ["path", leg.kernel ? "kernel" : `user space${leg.user_space_because ? `: ${leg.user_space_because}` : ""}`],
    ["dropped", dropped.map(([reason, number]) => `${words(reason)} ${count(number)}`).join(", "), "warn"],
    ["turned away", leg.refused_from || "", "warn"],
    ["ICE", iceOf(leg.ice, ended), leg.ice && leg.ice.expected && !leg.ice.checks ? "warn" : ""],
    ["DTLS", leg.dtls, "warn"], ["SRTP", leg.srtp || (leg.dtls ? "no keys yet" : "")],
    ["ICMP", leg.unreachable ? `${count(leg.unreachable)} times unreachable, the last time ${since(leg.unreachable_s, ended)}` : "", "warn"],
    ...leg.streams.map((stream) => [`SSRC ${stream.ssrc.toString(16)}`, quality(stream), stream.mos !== null && stream.mos < 3.5 ? "warn" : ""]),
  ));
}

const KINDS = { ok: "good", waiting: "warn", problem: "bad" };
function showVerdict(verdict, ended) {
  const way = verdict.sender === "from" ? "caller to callee" : "callee to caller";
  const lines = [make("p", { className: KINDS[verdict.state], textContent: `${verdict.state}: ${verdict.found}` })];
  lines.push(make("p", { className: "faint", textContent: `told to send to ${verdict.advertised}, announced ${verdict.announced ?? "nothing"}, seen ${verdict.seen ?? "nothing"}, sent to ${verdict.sent_to ?? "nothing"}` }));
  if (verdict.cause) lines.push(make("p", { textContent: `Likely: ${verdict.cause}.` }), make("p", { textContent: `Do: ${verdict.remedy}.` }));
  if (verdict.state === "problem") lines.push(make("code", { textContent: `tcpdump ${ended ? "-nr FILE" : "-ni any"} '${verdict.filter}'` }));
  return make("div", { className: "card" }, make("h3", { textContent: `${verdict.kind} ${verdict.medium + 1}, ${way}` }), ...lines);
}

function factsOf(call) {
  const facts = [["shard", String(call.shard)], ["set up by", `${clientOf(call.client)} of ${call.client.address}`]];
  if (!("end" in call)) return [...facts, ["age", duration(call.age_s)], ["idle", duration(call.idle_s)]];
  const by = call.ended_by ? ` by ${clientOf(call.ended_by)} of ${call.ended_by.address}` : "";
  return [...facts, ["began", dateOf(call.begin)], ["ended", `${dateOf(call.end)}, after ${duration(call.duration_s)}`], ["reason", words(call.reason) + by]];
}

function eventsOf(call) {
  const left = call.events_left_out ? [["", `${count(call.events_left_out)} events are left out`]] : [];
  return [...left, ...call.events.map((event) => [timeOf(event.at), [words(event.event), event.tag && shown(event.tag), event.port ? `port ${event.port}` : "", event.detail && shown(event.detail)].filter(Boolean).join(" · ")])];
}

function showCall(call, verdicts) {
  const ended = "end" in call;
  const parts = [make("h2", {}, ended ? "Call that has ended " : "Call ", make("span", { className: "id", textContent: shown(call.call_id) }))];
  parts.push(make("div", { className: "pair verdicts" }, ...verdicts.map((verdict) => showVerdict(verdict, ended))), rows(...factsOf(call)));
  for (const session of call.sessions) {
    parts.push(make("h2", { textContent: `Session ${session.sessionid}: ${session.state}${session.reason ? `, ended: ${words(session.reason)}` : ""}` }));
    for (const pair of session.pairs) {
      parts.push(make("h3", { textContent: `${pair.kind} ${pair.medium + 1}, ${pair.component === 0 ? "RTP" : pair.component === 1 ? "RTCP" : pair.component}` }));
      parts.push(make("div", { className: "pair" }, legCard("from the caller's side", pair.from, ended), legCard("from the callee's side", pair.to, ended)));
    }
  }
  if (!call.sessions.length) parts.push(make("p", { textContent: "No session joins two ends." }));
  parts.push(make("h2", { textContent: "What happened" }), rows(...eventsOf(call)));
  return parts;
}

async function pollCall() {
  const path = location.hash.slice("#/call/".length);
  if (!location.hash.startsWith("#/call/")) return;
  let parts;
  try {
    const call = await ask(`/api/calls/${path}`);  // first: of an unknown call nothing more is asked
    parts = showCall(call, (await ask(`/api/why/${path}`)).verdicts);
  } catch (error) {
    parts = [make("p", { className: "bad", textContent: error.message })];
  }
  if (location.hash === `#/call/${path}`) find("call").replaceChildren(make("p", {}, make("a", { href: "#/", textContent: "← all calls" })), ...parts);
}
