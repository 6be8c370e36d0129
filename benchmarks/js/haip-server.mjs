// The reference HAIP server: echoes text parts on AGENT. Takes its folder, prints its port, ends with stdin.
import { createRequire } from "node:module";
import { join } from "node:path";

const say = process.stdout.write.bind(process.stdout);
for (const name of ["log", "debug", "info", "warn"]) console[name] = () => {};
const require = createRequire(import.meta.url);
const { HAIPServer } = require(join(process.argv[2], "haip-server", "dist", "src", "server.js"));

// Its flow control never grants a credit again, so an echo of any length needs it off.
const most = Number.MAX_SAFE_INTEGER;
const flowControl = { enabled: false, initialCredits: most, initialCreditMessages: most, initialCreditBytes: most };
const server = new HAIPServer({ port: 0, host: "127.0.0.1", enableLogging: false, flowControl });
server.on("textMessage", (sessionId, message) => {
  server.sendMessage(sessionId, { ...message, channel: "AGENT" });
});
server.on("started", () => say(`${JSON.stringify({ port: server.server.address().port })}\n`));
server.start();
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
