// A point and a driver that are not ours, on kafkajs: they send what the reference's
// programs send (no key, no headers, only its fields) and read only its fields. Exits with
// 0 when two supplies went through, the second of them stopped by Central.
//
//   node drive.mjs HOST:PORT ev-central-binary
import { execFileSync } from "node:child_process";
import kafkajs from "kafkajs";

const [broker, evCentral] = process.argv.slice(2);
const kafka = new kafkajs.Kafka({ clientId: "foreign", brokers: [broker], logLevel: kafkajs.logLevel.ERROR });
const cp = "CP-JS-1", driver = "D-JS-1", price = 0.25;

const producer = kafka.producer();
const send = (topic, value) => producer.send({ topic, messages: [{ value: JSON.stringify(value) }] });

const heard = []; // everything that Central says, in order
const consumer = kafka.consumer({ groupId: "foreign-" + process.pid });
const wait = async (what, test) => {
  for (let i = 0; i < 300; i++) {
    const at = heard.findIndex(test);
    if (at >= 0) return heard.splice(at, 1)[0].value;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error(`no ${what} within 30 s; heard: ${JSON.stringify(heard)}`);
};
// What each record of ours has, and which of it is a figure.
const texts = {
  "ev.supply.auth": ["driver_id", "cp_id", "request_id"],
  "ev.supply.start": ["session_id", "cp_id", "driver_id", "valid_until"],
  "ev.commands": ["cp_id", "cmd"],
  "ev.supply.ticket": ["ticket_id", "session_id", "driver_id", "cp_id", "started_at", "ended_at", "reason", "digest"],
  "ev.cp.state": ["id", "location", "state", "updated_at"],
};
const figures = {
  "ev.supply.auth": [], "ev.supply.start": ["price", "order"], "ev.commands": ["order"],
  "ev.supply.ticket": ["total_kwh", "price", "total_eur", "revision"], "ev.cp.state": ["price", "version"],
};
const keyOf = (topic, value) => (topic === "ev.cp.state" ? value.id : topic === "ev.supply.auth" || topic === "ev.supply.ticket" ? value.driver_id : value.cp_id);
const faults = [];
const inspect = (topic, message, value) => {
  const says = (what) => faults.push(`${topic}: ${what}: ${message.value}`);
  for (const name of texts[topic]) if (typeof value[name] !== "string" && !(name === "request_id" && value[name] === undefined)) says(`${name} is no text`);
  for (const name of figures[topic]) if (typeof value[name] !== "number") says(`${name} is no number`);
  if (Object.values(value).includes(null)) says("there is a null");
  if (message.key?.toString() !== keyOf(topic, value)) says(`the key is ${message.key}`);
};

const check = (what, ok) => { if (!ok) throw new Error("not so: " + what); };

async function supply(end) {
  await send("ev.supply.request", { driver_id: driver, cp_id: cp });
  const auth = await wait("answer", (m) => m.topic === "ev.supply.auth" && m.value.driver_id === driver);
  check("authorized: " + JSON.stringify(auth), auth.authorized === true && auth.cp_id === cp);
  const start = await wait("start", (m) => m.topic === "ev.supply.start" && m.value.cp_id === cp);
  check("price is a number", start.price === price && start.driver_id === driver);
  for (let s = 1; s <= 3; s++) {
    await send("ev.supply.telemetry", { session_id: start.session_id, cp_id: cp, driver_id: driver, kw: 7.2, euros: s * 0.0005 });
  }
  const reason = await end();
  await send("ev.supply.done", { session_id: start.session_id, cp_id: cp, driver_id: driver, total_kwh: 0.006, total_eur: 0.0015, reason });
  const ticket = await wait("ticket", (m) => m.topic === "ev.supply.ticket" && m.value.session_id === start.session_id);
  check("ticket " + JSON.stringify(ticket), ticket.total_kwh === 0.006 && ticket.total_eur === 0.0015 && ticket.reason === reason);
  return ticket;
}

try {
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topics: ["ev.supply.auth", "ev.supply.start", "ev.commands", "ev.supply.ticket", "ev.cp.state"], fromBeginning: true });
  const joined = new Promise((r) => consumer.on(consumer.events.GROUP_JOIN, r));
  await consumer.run({
    eachMessage: async ({ topic, message }) => {
      const value = JSON.parse(message.value.toString());
      inspect(topic, message, value);
      heard.push({ topic, value });
    },
  });
  await joined;
  await send("ev.health", { id: cp, status: "OK" }); // a health report may overtake the registration
  await send("ev.register", { id: cp, location: "Alicante", price_eur_kwh: price });
  await wait("free point", (m) => m.topic === "ev.cp.state" && m.value.id === cp && m.value.state === "ACTIVATED");
  const first = await supply(async () => "FINISHED");
  await wait("free point", (m) => m.topic === "ev.cp.state" && m.value.id === cp && m.value.state === "ACTIVATED");
  const second = await supply(async () => {
    execFileSync(evCentral, ["--kafka", broker, "stop", cp], { stdio: "inherit" });
    await wait("OUT_OF_ORDER", (m) => m.topic === "ev.commands" && m.value.cmd === "OUT_OF_ORDER" && m.value.cp_id === cp);
    await wait("STOP_SUPPLY", (m) => m.topic === "ev.commands" && m.value.cmd === "STOP_SUPPLY" && m.value.cp_id === cp);
    return "STOP_BY_CENTRAL";
  });
  check("what contract.md says of each record: " + faults.join("\n"), faults.length === 0);
  check("two sessions", first.session_id !== second.session_id);
  console.log("kafkajs 2.2.4: two supplies, exact tickets, stop obeyed");
} finally {
  await Promise.allSettled([consumer.disconnect(), producer.disconnect()]);
}
