// Runs of the npm package side by side on one connection; prints how they ended and how late tokens came.
import { createAgentSession, createClientSession } from '@ably/ai-transport/vercel';
import * as Ably from 'ably';
import { randomUUID } from 'node:crypto';

const { options, runs, tokens, interval, gap } = JSON.parse(process.argv[2]);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
// A run that dies takes rejections with it that nobody handles.
process.on('unhandledRejection', () => {});
const agentClient = new Ably.Realtime({ ...options, clientId: 'agent' });
const askerClient = new Ably.Realtime({ ...options, clientId: 'alice' });
const took = [];

async function converse(number) {
  const channelName = `limits:${randomUUID()}`;
  const asker = createClientSession({ client: askerClient, channelName });
  const agent = createAgentSession({ client: agentClient, channelName });
  await Promise.all([asker.connect(), agent.connect()]);
  const sent = [];
  asker.tree.on('output', ({ events }) => {
    const now = performance.now();
    for (const event of events) {
      if (event.type !== 'text-delta') continue;
      for (const word of event.delta.trim().split(/\s+/)) took.push(now - sent[Number(word)]);
    }
  });
  async function* chunks() {
    yield { type: 'start' };
    yield { type: 'text-start', id: 't' };
    const began = performance.now();
    for (let i = 0; i < tokens; i++) {
      sent.push(performance.now());
      yield { type: 'text-delta', id: 't', delta: ` ${i}` };
      await pause(Math.max(0, began + (i + 1) * interval - performance.now()));
    }
    yield { type: 'text-end', id: 't' };
    yield { type: 'finish' };
  }
  let ended = 'active';
  asker.tree.on('run', (event) => {
    if (event.type === 'end') ended = event.reason;
  });
  const message = { id: `u${number}`, role: 'user', parts: [{ type: 'text', text: 'Go' }] };
  let exact = false;
  try {
    const run = await asker.view.send({ kind: 'user-message', message });
    const reply = agent.createRun(run.toInvocation());
    while (reply.view.hasOlder()) await reply.view.loadOlder(100);
    await reply.start();
    const result = await reply.pipe(chunks());
    await reply.end({ reason: result.reason });
  } catch {
    // Counted by how the run looks to the asker.
  }
  for (let waited = 0; ended === 'active' && waited < 5000; waited += 50) await pause(50);
  const wanted = Array.from({ length: tokens }, (_, i) => ` ${i}`).join('');
  for (const { message: shown } of asker.view.getMessages()) {
    const text = shown.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
    exact ||= text === wanted;
  }
  return { ended, exact };
}

const pending = [];
for (let number = 0; number < runs; number++) {
  pending.push(converse(number));
  await pause(gap);
}
const outcomes = await Promise.all(pending);
console.log(JSON.stringify({ outcomes, took }));
process.exit(0);
