// A client of a session, driven line by line.
import { createClientSession } from '@ably/ai-transport';
import { createToolResultFork } from '@ably/ai-transport/vercel';

import { closeClient, openClient } from './lib/ably.mjs';
import { chosenCodec as codec } from './lib/codecs.mjs';
import { describeError, emit, Registry, serve } from './lib/peer.mjs';
import { showError, showView, waitUntil } from './lib/show.mjs';

const runs = new Registry('run');
const steers = new Registry('steer');
const views = new Registry('view');
let client;
let session;

const viewOf = (name) => (name ? views.get(name) : session.view);

const userMessage = ({ text, message }) =>
  codec.createUserMessage(message ?? { id: crypto.randomUUID(), role: 'user', parts: [{ type: 'text', text }] });

const present = (run) => ({
  run: runs.add(run),
  inputEventId: run.inputEventId,
  inputCodecMessageId: run.inputCodecMessageId,
  invocation: run.toInvocation().toJSON(),
});

const nodeOf = (runId) => {
  const node = session.tree.getRunNode(runId);
  if (!node) throw new Error(`no such run: ${runId}`);
  return node;
};

const operations = {
  async connect({ options, channel, session: sessionOptions = {} }) {
    client = openClient(options);
    session = createClientSession({ client, channelName: channel, codec, ...sessionOptions });
    session.on('error', (error) => emit('error', { error: describeError(error) }));
    await session.connect();
    return { connectionId: client.connection.id, clientId: client.auth.clientId };
  },

  async send({ view, options, ...content }) {
    return present(await viewOf(view).send(userMessage(content), options));
  },

  async regenerate({ view, messageId, options }) {
    return present(await viewOf(view).regenerate(messageId, options));
  },

  async edit({ view, messageId, options, ...content }) {
    return present(await viewOf(view).edit(messageId, userMessage(content), options));
  },

  // Answers a suspended run's tool call in a run of its own.
  async answerTool({ view, runId, toolCallId, output, errorMessage }) {
    const node = nodeOf(runId);
    const { input, sendOptions } = createToolResultFork({
      runMessages: codec.getMessages(node.projection),
      parentCodecMessageId: node.parentCodecMessageId,
      toolCallId,
      result: errorMessage === undefined ? { output } : { errorMessage },
      supersedesRunId: runId,
    });
    return present(await viewOf(view).send([input], sendOptions));
  },

  // Answers a suspended run's tool call so that the same run goes on.
  async resumeWithTool({ view, runId, messageId, toolCallId, output, errorMessage }) {
    const input =
      errorMessage === undefined
        ? codec.createToolResult(messageId, { toolCallId, output })
        : codec.createToolResultError(messageId, { toolCallId, message: errorMessage });
    return present(await viewOf(view).send([input], { runId }));
  },

  async resumeWith({ view, runId, messageId, payload }) {
    return present(await viewOf(view).send([codec.createToolResult(messageId, payload)], { runId }));
  },

  async approveTool({ view, runId, messageId, toolCallId, approved, reason }) {
    const input = codec.createToolApprovalResponse(messageId, { toolCallId, approved, reason });
    return present(await viewOf(view).send([input], { runId }));
  },

  async cancel({ run, runId }) {
    await (run ? runs.get(run).cancel() : session.cancel(runId));
  },

  async steer({ run, ...content }) {
    const { published, outcome } = runs.get(run).steer(userMessage(content));
    outcome.catch(() => {}); // asked for by its own command
    const { serial } = await published;
    return { steer: steers.add(outcome), serial: serial ?? null };
  },

  steerOutcome: ({ steer }) => steers.get(steer),

  async started({ run }) {
    const handle = runs.get(run);
    await handle.started;
    return { runId: handle.runId };
  },

  run({ run }) {
    const { runId, status, error, messages } = runs.get(run);
    return { runId, status, error: showError(error), messages };
  },

  messages: ({ view }) => viewOf(view).getMessages(),
  runs: ({ view }) => showView(viewOf(view)).runs,
  show: ({ view }) => showView(viewOf(view)),
  runOf: ({ view, messageId }) => viewOf(view).runOf(messageId),
  hasOlder: ({ view }) => viewOf(view).hasOlder(),
  loadOlder: ({ view, limit }) => viewOf(view).loadOlder(limit),

  async loadAll({ view, limit }) {
    const target = viewOf(view);
    while (target.hasOlder()) await target.loadOlder(limit);
    return target.getMessages();
  },

  loadUntil: ({ view, messageId }) => viewOf(view).loadUntil((entry) => entry.codecMessageId === messageId),
  waitFor: ({ view, ...wanted }) => waitUntil(session, viewOf(view), wanted),

  branch({ view, messageId }) {
    const { hasSiblings, siblings, index, selected } = viewOf(view).branchSelection(messageId);
    return { hasSiblings, siblings, index, selected };
  },

  select({ view, messageId, index }) {
    viewOf(view).branchSelection(messageId).select(index);
  },

  newView: () => ({ view: views.add(session.createView()) }),
  closeView: ({ view }) => views.get(view).close(),

  // From now on each change of the visible messages is an event.
  watch({ view }) {
    const target = viewOf(view);
    target.on('update', () => emit('messages', { view: view ?? null, messages: target.getMessages() }));
  },

  async close() {
    await session?.close();
    if (client) await closeClient(client);
    session = client = undefined;
  },
};

await serve(operations, operations.close);
