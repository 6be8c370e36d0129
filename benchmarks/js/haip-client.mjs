// The reference HAIP client: sends text parts and counts the echoes. Takes JSON, prints JSON.
import { createRequire } from "node:module";
import { join } from "node:path";

const { reference, url, token, echoes, inFlight } = JSON.parse(process.argv[2]);
for (const name of ["log", "debug", "info", "warn"]) console[name] = () => {};
const require = createRequire(import.meta.url);
const { createHAIPClient, HAIPUtils } = require(join(reference, "haip-sdk", "dist", "index.js"));

const most = Number.MAX_SAFE_INTEGER;
const client = createHAIPClient({
  url,
  token,
  flowControl: { initialCredits: most, initialCreditBytes: most, initialCreditMessages: 1_000_000 },
});
const sessionId = HAIPUtils.generateUUID();
let sent = 0;
let received = 0;
let began;
let finish;
const finished = new Promise((resolve) => (finish = resolve));

function send() {
  sent += 1;
  const payload = { message_id: sessionId, text: `word ${sent}` };
  client.sendMessage(HAIPUtils.createMessage(sessionId, "USER", "TEXT_MESSAGE_PART", payload)).catch(fail);
}

function fail(error) {
  process.stderr.write(`${error}\n`);
  process.exit(1);
}

client.on("error", fail);
client.on("message", (message) => {
  if (message.type !== "TEXT_MESSAGE_PART") return;
  received += 1;
  if (received === echoes) finish(process.hrtime.bigint());
  else if (sent < echoes) send();
});
client.on("handshake", () => {
  began = process.hrtime.bigint();
  for (let n = 0; n < Math.min(inFlight, echoes); n += 1) send();
});
await client.connect();
const ended = await finished;
process.stdout.write(`${JSON.stringify({ seconds: Number(ended - began) / 1e9 })}\n`, () => process.exit(0));
