// The JavaScript side of the benchmarks: measures one thing and prints the figures as JSON.
import { createAgentSession, createClientSession } from '@ably/ai-transport/vercel';
import * as Ably from 'ably';
import { randomUUID } from 'node:crypto';

const { what, options, tokens, interval } = JSON.parse(process.argv[2]);
const channelName = `bench:${randomUUID()}`;
const userMessage = { id: 'u1', role: 'user', parts: [{ type: 'text', text: 'Go' }] };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const agentClient = new Ably.Realtime({ ...options, clientId: 'agent' });
const askerClient = new Ably.Realtime({ ...options, clientId: 'alice' });
const asker = createClientSession({ client: askerClient, channelName });
const agent = createAgentSession({ client: agentClient, channelName });
await Promise.all([asker.connect(), agent.connect()]);

const sent = [];
const took = [];
async function* chunks() {
  yield { type: 'start' };
  yield { type: 'text-start', id: 't' };
  for (let i = 0; i < tokens; i++) {
    sent.push(performance.now());
    yield { type: 'text-delta', id: 't', delta: ` ${what === 'latency' ? i : `token${i}`}` };
    if (interval) await pause(interval);
  }
  yield { type: 'text-end', id: 't' };
  yield { type: 'finish' };
}

if (what === 'latency') {
  asker.tree.on('output', ({ events }) => {
    const now = performance.now();
    for (const event of events) {
      if (event.type !== 'text-delta') continue;
      for (const word of event.delta.trim().split(/\s+/)) took.push(now - sent[Number(word)]);
    }
  });
}

const input = { kind: 'user-message', message: userMessage };
const run = await asker.view.send(input);
const ended = new Promise((resolve) => asker.tree.on('run', ({ type }) => type === 'end' && resolve()));
if (what === 'throughput') {
  // As for the others, the asker does not follow what is measured.
  await asker.close();
  askerClient.close();
}
const reply = agent.createRun(run.toInvocation());
while (reply.view.hasOlder()) await reply.view.loadOlder(100);
await reply.start();
const began = performance.now();
const result = await reply.pipe(chunks());
const spent = (performance.now() - began) / 1000;
await reply.end({ reason: result.reason });
if (what === 'latency') await ended;
await agent.end();
agentClient.close();
if (what === 'latency') askerClient.close();
console.log(JSON.stringify(what === 'latency' ? { took } : { rate: tokens / spent }));
process.exit(0);
