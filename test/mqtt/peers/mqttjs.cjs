// mqttjs.cjs - a program on MQTT.js against the broker: every QoS, retained messages, a session that is kept, a will, and what 5.0
// adds. Prints one line a claim; run by test_mqtt_peers.py.
//
// usage: node mqttjs.cjs URL CAFILE|- USER PASSWORD 3|4|5
'use strict';
const fs = require('fs');
const mqtt = require('mqtt');

const [url, ca, username, password, level] = process.argv.slice(2);
const version = Number(level);
const EACH = 40;
const LIMIT_MS = 20000;

setTimeout(() => { console.log('failed: out of time'); process.exit(1); }, 60000).unref();

function within(promise, what) {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${what}: out of time`)), LIMIT_MS); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A client with what it got; resolves at its CONNACK.
function enter(clientId, more = {}) {
  const options = {
    clientId, username, password, protocolVersion: version, protocolId: version === 3 ? 'MQIsdp' : 'MQTT', reconnectPeriod: 0,
    ...(ca === '-' ? {} : { ca: fs.readFileSync(ca) }), ...more,
  };
  const client = mqtt.connect(url, options);
  const self = { client, got: [] };
  client.on('message', (topic, payload, packet) => self.got.push({ topic, text: payload.toString(), ...packet }));
  const ready = new Promise((yes, no) => {
    client.once('connect', (packet) => { self.connack = packet; yes(self); });
    client.once('error', no);
  });
  return within(ready, 'connect');
}

const call = (self, method, ...words) => within(new Promise((yes, no) => self.client[method](...words,
  (error, answer) => (error ? no(error) : yes(answer)))), method);
const publish = (self, topic, text, options = {}) => call(self, 'publish', topic, text, options);
const subscribe = (self, topic, options) => call(self, 'subscribe', topic, options);
const leave = (self) => call(self, 'end', false, {});

async function arrive(self, count) {
  const limit = Date.now() + LIMIT_MS;
  while (self.got.length < count && Date.now() < limit) await new Promise((yes) => setTimeout(yes, 10));
  return self.got.splice(0, count);
}

const inOrder = (messages, qos) => messages.filter((m, i) => m.text === String(i) && m.qos === qos).length;

async function everyQos(self) {
  for (const qos of [0, 1, 2]) {
    const [granted] = await subscribe(self, `js/${qos}`, { qos });
    await Promise.all([...Array(EACH).keys()].map((i) => publish(self, `js/${qos}`, String(i), { qos })));
    console.log(`qos ${qos}: granted ${granted.qos}, ${inOrder(await arrive(self, EACH), qos)} in order`);
  }
}

async function retained(self) {
  await publish(self, 'js/kept', 'old', { qos: 1, retain: true });
  await publish(self, 'js/kept', 'new', { qos: 1, retain: true });
  await subscribe(self, 'js/kept', { qos: 1 });
  const [first] = await arrive(self, 1);
  console.log(`retained: ${first.text} ${first.retain}`);
  await publish(self, 'js/kept', '', { qos: 1, retain: true });
  await arrive(self, 1);
}

async function keptSession(self) {
  const keep = { clean: false, ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}) };
  await leave(await enter('js-keeper', { clean: true }));
  const first = await enter('js-keeper', keep);
  await subscribe(first, 'js/away', { qos: 2 });
  await leave(first);
  for (let i = 0; i < EACH; i++) await publish(self, 'js/away', String(i), { qos: 2 });
  const second = await enter('js-keeper', keep);
  const right = inOrder(await arrive(second, EACH), 2);
  console.log(`session present: ${first.connack.sessionPresent}, then ${second.connack.sessionPresent}; ${right} in order`);
  await leave(second);
}

async function will(self) {
  const one = await enter('js-will', { will: { topic: 'js/will', payload: 'gone', qos: 1 } });
  await subscribe(self, 'js/will', { qos: 1 });
  one.client.stream.destroy();
  const [message] = await arrive(self, 1);
  console.log(`will: ${message.text} ${message.qos}`);
}

async function five(self) {
  const properties = { contentType: 'text', responseTopic: 'js/r', correlationData: Buffer.from([0, 255]), userProperties: { line: '3' },
    payloadFormatIndicator: true, messageExpiryInterval: 3600 };
  await subscribe(self, 'js/five', { qos: 1, properties: { subscriptionIdentifier: 7 } });
  await publish(self, 'js/five', 'x', { qos: 1, properties });
  const [message] = await arrive(self, 1);
  const p = message.properties;
  console.log(`properties: ${p.contentType} ${p.responseTopic} ${p.correlationData.toString('hex')} ${p.userProperties.line} `
    + `${p.payloadFormatIndicator} ${p.messageExpiryInterval > 3590} ${p.subscriptionIdentifier}`);
  await subscribe(self, 'js/own', { qos: 0, nl: true });
  await publish(self, 'js/own', 'mine', { qos: 1 });
  await publish(self, 'js/five', 'next', { qos: 1 });
  console.log(`no local: ${(await arrive(self, 1))[0].text}`);
  const nameless = await enter('', { clean: true });
  console.log(`assigned: ${/^auto-/.test(nameless.connack.properties.assignedClientIdentifier)}`);
  await leave(nameless);
  const aliased = await enter('js-alias', { autoAssignTopicAlias: true, properties: { topicAliasMaximum: 5 }, autoUseTopicAlias: true });
  for (let i = 0; i < EACH; i++) await publish(aliased, 'js/five', String(i), { qos: 1 });
  console.log(`aliases: ${inOrder(await arrive(self, EACH), 1)} in order`);
  await leave(aliased);
}

async function main() {
  const wrong = await enter('js-stranger', { password: 'wrong' }).catch((error) => error);
  console.log(`wrong password: ${wrong.code}`);
  const self = await enter('js');
  await everyQos(self);
  await retained(self);
  await keptSession(self);
  await will(self);
  if (version === 5) await five(self);
  await leave(self);
}

main().then(() => process.exit(0), (error) => { console.log(`failed: ${error.stack}`); process.exit(1); });
