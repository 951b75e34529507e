// A phone in a page: what tools/harness/web_phone.py asks of a browser. Each function waits until it is done.
"use strict";

const phones = new Map();
let made = 0;

async function newPhone(kinds, configuration) {
  const name = `phone ${++made}`;
  const connection = new RTCPeerConnection(configuration);
  // without the permission of getUserMedia a browser hides its addresses
  const wanted = { audio: kinds.includes("audio"), video: kinds.includes("video") && { width: 320, height: 240 } };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  const states = [];
  const note = () => states.push(`${connection.iceConnectionState} ${connection.connectionState}`);
  connection.addEventListener("iceconnectionstatechange", note);
  connection.addEventListener("connectionstatechange", note);
  connection.addEventListener("track", ({ track }) => play(track));
  phones.set(name, { connection, stream, states });
  return name;
}

// A stream that no element plays is not decoded.
function play(track) {
  const element = document.createElement(track.kind);
  element.muted = true;
  element.autoplay = true;
  element.srcObject = new MediaStream([track]);
  document.body.append(element);
}

function addTracks({ connection, stream }, kinds) {
  const sent = new Set(connection.getSenders().map(({ track }) => track));
  for (const track of stream.getTracks()) {
    if (kinds.includes(track.kind) && !sent.has(track)) connection.addTrack(track, stream);
  }
}

async function describe(connection, description) {
  await connection.setLocalDescription(description);
  while (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) =>
      connection.addEventListener("icegatheringstatechange", resolve, { once: true }));
  }
  return connection.localDescription.sdp;
}

async function offer(name, kinds, options) {
  const phone = phones.get(name);
  addTracks(phone, kinds);
  return describe(phone.connection, await phone.connection.createOffer(options));
}

async function answer(name, kinds, sdp) {
  const phone = phones.get(name);
  await phone.connection.setRemoteDescription({ type: "offer", sdp });
  addTracks(phone, kinds);
  return describe(phone.connection, await phone.connection.createAnswer());
}

async function accept(name, sdp) {
  await phones.get(name).connection.setRemoteDescription({ type: "answer", sdp });
}

// A phone neither sends nor receives a kind any more; the next offer says so.
function stop(name, kind) {
  for (const transceiver of phones.get(name).connection.getTransceivers()) {
    if (transceiver.receiver.track.kind === kind) transceiver.stop();
  }
}

async function getStatistics(name) {
  const { connection, states } = phones.get(name);
  const reports = [...(await connection.getStats()).values()];
  const ofType = (type) => reports.filter((report) => report.type === type);
  return {
    ice: connection.iceConnectionState,
    connection: connection.connectionState,
    states,
    sent: ofType("outbound-rtp"),
    received: ofType("inbound-rtp"),
    reported: ofType("remote-inbound-rtp"),
    transports: ofType("transport"),
  };
}

function hangUp(name) {
  const { connection, stream } = phones.get(name);
  connection.close();
  for (const track of stream.getTracks()) track.stop();
  phones.delete(name);
}
