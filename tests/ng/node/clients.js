// Clients of ng for a test: each line of standard input is a request, each line of standard output its reply.
//
// A request is {client, method, options}, where client is udp or tcp (of rtpengine-client) or jambonz (of
// @jambonz/rtpengine-utils). The method resourceCount waits for what jambonz counts from `statistics` next.
const {once, EventEmitter} = require('events');
const readline = require('readline');

console.log = console.error; // the TCP client logs there

const {Client, TcpClient} = require('rtpengine-client');
const jambonz = require('@jambonz/rtpengine-utils');

const [host, port] = process.argv.slice(2);
const timeout = 5000;
const udp = new Client({timeout});
const tcp = new TcpClient({hostport: `${host}:${port}`, timeout});
const emitter = new EventEmitter();
const {getRtpEngine} = jambonz([`${host}:${port}`], null, {timeout, emitter, pingInterval: 100});

const clients = {
  udp: (method, options) => udp[method](Number(port), host, options),
  tcp: async(method, options) => {
    if (!tcp.connected) await once(tcp, 'connect');
    return tcp[method](options);
  },
  jambonz: async(method, options) => {
    if (method === 'resourceCount') return (await once(emitter, method))[0];
    return getRtpEngine()[method](options);
  },
};

const answer = async({client, method, options}) => {
  try {
    return await clients[client](method, options);
  } catch (error) {
    return {failure: String(error)};
  }
};

(async() => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + '\n');
  }
  process.exit(0); // the clients keep sockets and timers open
})();
