// The JavaScript side of the measurements of a conversation: a client session on a channel that holds a history.
import { createClientSession } from '@ably/ai-transport/vercel';
import { readFileSync } from 'node:fs';

const { file } = JSON.parse(process.argv[2]);
const { history, live, tokens, reads } = JSON.parse(readFileSync(file, 'utf8'));

class Page {
  constructor(start, limit) {
    this.items = history.slice(start, start + limit);
    this.hasNext = () => start + limit < history.length;
    this.next = async () => (this.hasNext() ? new Page(start + limit, limit) : null);
  }
}

let deliver;
const channel = {
  name: 'bench',
  state: 'initialized',
  subscribe: async (listener) => {
    deliver = listener;
    channel.state = 'attached';
  },
  unsubscribe: () => {},
  attach: async () => null,
  detach: async () => null,
  on: () => {},
  off: () => {},
  setOptions: async () => {},
  history: async ({ limit }) => new Page(0, limit),
};
const client = {
  options: { agents: {} },
  auth: { clientId: 'alice' },
  connection: { state: 'connected', on: () => {}, off: () => {} },
  channels: { get: () => channel },
};

global.gc();
const before = process.memoryUsage().heapUsed;
const session = createClientSession({ client, channelName: 'bench', historyPageSize: 1000 });
await session.connect();
const beganLoading = performance.now();
while (session.view.hasOlder()) await session.view.loadOlder(100_000);
const loading = performance.now() - beganLoading;
global.gc();
const held = process.memoryUsage().heapUsed - before;
live.forEach((message) => deliver(message));
let read = 0;
session.view.on('update', () => {
  if (reads) read += session.view.getMessages().length;
});
const rounds = [];
for (const round of tokens) {
  const began = performance.now();
  for (const message of round) deliver(message);
  rounds.push(((performance.now() - began) * 1000) / round.length);
}
const last = session.view.getMessages().at(-1).message.parts.at(-1).text;
console.log(JSON.stringify({ loading, held, rounds, read, messages: session.view.getMessages().length, last }));
