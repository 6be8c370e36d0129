// Plays scripts to client sessions whose channel does what the script says, and tells after each step what there is
// to see. See ../differential/script.py for the steps.
import * as Ably from 'ably';
import { createClientSession } from '@ably/ai-transport';
import { createToolResultFork } from '@ably/ai-transport/vercel';

import { codecs } from './lib/codecs.mjs';
import { Names } from './lib/names.mjs';
import { serve } from './lib/peer.mjs';
import { showError, showRun } from './lib/show.mjs';

class Page {
  constructor(messages, start, limit) {
    this.items = messages.slice(start, start + limit);
    this.hasNext = () => start + limit < messages.length;
    this.next = async () => (this.hasNext() ? new Page(messages, start + limit, limit) : null);
  }
}

class Channel {
  state = 'initialized';
  frames = [];
  refusals = 0;
  #listeners = new Set();
  #history;
  #names;

  constructor(name, history, names) {
    this.name = name;
    this.#history = history;
    this.#names = names;
  }

  deliver(message) {
    for (const listener of [...this.#listeners]) listener(message);
  }

  publish = async (messages) => {
    const frame = [messages].flat();
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new Ably.ErrorInfo('refused', 50000, 500);
    }
    frame.forEach((message) => this.#names.learn(message));
    this.frames.push(JSON.parse(JSON.stringify(frame)));
    return { serials: frame.map((_, i) => `published-${this.frames.length}-${i}`) };
  };

  subscribe = async (listener) => {
    this.#listeners.add(listener);
    this.state = 'attached';
    return null;
  };

  unsubscribe = (listener) => this.#listeners.delete(listener);
  attach = async () => null;
  detach = async () => null;
  on = () => {};
  off = () => {};
  setOptions = async () => {};
  history = async ({ limit }) => new Page(this.#history, 0, limit);
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const codec = codecs.vercel;
const said = ({ id, text }) => codec.createUserMessage({ id, role: 'user', parts: [{ type: 'text', text }] });

const showBranch = (view, id) => {
  const { hasSiblings, siblings, index, selected } = view.branchSelection(id);
  const identity = (message) => message?.id ?? message ?? null;
  return { hasSiblings, siblings: siblings.map(identity), index, selected: identity(selected) };
};

const showView = (view) => {
  const messages = view.getMessages();
  return {
    messages,
    runs: view.runs().map(showRun),
    hasOlder: view.hasOlder(),
    branches: messages.map(({ codecMessageId }) => showBranch(view, codecMessageId)),
    runOf: messages.map(({ codecMessageId }) => view.runOf(codecMessageId)?.runId ?? null),
  };
};

const showRunEvent = ({ error, timestamp, ...event }) => ({ ...event, ...(error ? { error: showError(error) } : {}) });

const keyOf = (node) => (node.kind === 'run' ? node.runId : node.codecMessageId);

const showNode = ({ runId, clientId, invocationId, parentCodecMessageId, regeneratesCodecMessageId, state, steps }) => ({
  runId,
  clientId,
  invocationId,
  parent: parentCodecMessageId ?? null,
  regenerates: regeneratesCodecMessageId ?? null,
  steps,
  status: state.status,
  ...(state.error ? { error: showError(state.error) } : {}),
});

class Player {
  #names = new Names(['event-id', 'codec-message-id']);
  #channel;
  #session;
  #views = [];
  #runs = [];
  #steers = [];
  #heard = {};

  constructor({ history, pageSize, clientId, codec: codecName }) {
    this.#names.know(history);
    this.#channel = new Channel('differential', history, this.#names);
    const client = {
      options: { agents: {} },
      auth: { clientId },
      connection: { state: 'connected', on: () => {}, off: () => {} },
      channels: { get: () => this.#channel },
    };
    this.#session = createClientSession({
      client,
      channelName: 'differential',
      historyPageSize: pageSize,
      codec: codecs[codecName],
    });
    this.#forget();
  }

  async play(steps) {
    await this.#session.connect();
    const { tree } = this.#session;
    this.#session.on('error', (error) => this.#heard.errors.push(showError(error)));
    tree.on('run', (event) => this.#heard.runs.push(showRunEvent(event)));
    tree.on('output', (event) => this.#heard.outputs.push({ ...event, inputs: event.inputs.length }));
    this.#watch(this.#session.view);
    const shown = [];
    for (const step of steps) shown.push(await this.#take(this.#names.reveal(step)));
    await this.#session.close();
    return shown;
  }

  #forget() {
    this.#heard = { errors: [], runs: [], outputs: [], viewed: this.#views.map(() => ({ runs: [], messages: [] })) };
  }

  #watch(view) {
    const place = this.#views.push(view) - 1;
    this.#heard.viewed.push({ runs: [], messages: [] });
    view.on('run', (event) => this.#heard.viewed[place].runs.push(showRunEvent(event)));
    view.on('ably-message', ({ serial }) => this.#heard.viewed[place].messages.push(serial));
  }

  async #take(step) {
    const before = this.#channel.frames.length;
    let error;
    let result;
    try {
      result = await this[step.op](step);
    } catch (raised) {
      if (typeof raised.code !== 'number' && !(raised instanceof TypeError)) throw raised;
      error = { code: raised.code ?? raised.message, statusCode: raised.statusCode };
    }
    await settled();
    const shown = {
      error: error ?? null,
      result: result ?? null,
      frames: this.#channel.frames.slice(before),
      views: this.#views.map(showView),
      sent: this.#runs.map((run) => ({
        runId: run.runId,
        status: run.status,
        error: showError(run.error) ?? null,
        messages: run.messages,
      })),
      steers: this.#steers,
      heard: this.#heard,
    };
    const concealed = this.#names.conceal(shown);
    this.#forget();
    return concealed;
  }

  deliver({ message }) {
    this.#channel.deliver(message);
  }

  deliverAll({ messages }) {
    messages.forEach((message) => this.#channel.deliver(message));
  }

  refuse() {
    this.#channel.refusals += 1;
  }

  async send({ view, said: content, options }) {
    this.#keep(await this.#views[view].send(said(content), options));
  }

  async edit({ view, messageId, said: content }) {
    this.#keep(await this.#views[view].edit(messageId, said(content)));
  }

  async regenerate({ view, messageId }) {
    this.#keep(await this.#views[view].regenerate(messageId));
  }

  async returnTool({ view, runId, messageId, toolCallId, text }) {
    const input = codec.createToolResult(messageId, { toolCallId, output: text });
    this.#keep(await this.#views[view].send([input], { runId }));
  }

  async forkTool({ view, runId, toolCallId, text }) {
    const { projection, parentCodecMessageId } = this.#session.tree.getRunNode(runId);
    const { input, sendOptions } = createToolResultFork({
      runMessages: codec.getMessages(projection),
      parentCodecMessageId,
      toolCallId,
      result: { output: text },
      supersedesRunId: runId,
    });
    this.#keep(await this.#views[view].send([input], sendOptions));
  }

  #keep(run) {
    run.started.catch(() => {});
    this.#runs.push(run);
  }

  async cancel({ run }) {
    await this.#runs[run].cancel();
  }

  async cancelRun({ runId }) {
    await this.#session.cancel(runId);
  }

  steer({ run, said: content }) {
    const { published, outcome } = this.#runs[run].steer(said(content));
    const steer = { published: false, outcome: null };
    this.#steers.push(steer);
    published.then(
      () => (steer.published = true),
      (error) => (steer.published = error.code),
    );
    outcome.then(
      (value) => (steer.outcome = value),
      (error) => (steer.outcome = error.code),
    );
  }

  select({ view, messageId, index }) {
    this.#views[view].branchSelection(messageId).select(index);
  }

  // Chooses the newest of all alternatives, from the root on.
  newest({ view }) {
    const target = this.#views[view];
    const chosen = new Set();
    const next = () =>
      target.getMessages().find(({ codecMessageId }) => {
        const { index, siblings } = target.branchSelection(codecMessageId);
        return index < siblings.length - 1 && !chosen.has(codecMessageId);
      });
    for (let entry = next(); entry; entry = next()) {
      chosen.add(entry.codecMessageId);
      const branch = target.branchSelection(entry.codecMessageId);
      branch.select(branch.siblings.length - 1);
    }
  }

  async loadOlder({ view, limit }) {
    return (await this.#views[view].loadOlder(limit)).map((message) => message.codecMessageId);
  }

  async loadUntil({ view, messageId }) {
    const found = await this.#views[view].loadUntil((message) => message.codecMessageId === messageId);
    return found.map((message) => message.codecMessageId);
  }

  // Everything that is known of some runs and messages, on whatever branch they are.
  inspect({ runIds, messageIds }) {
    const { tree } = this.#session;
    const runs = runIds.map((id) => tree.getRunNode(id));
    const owners = messageIds.map((id) => tree.getNodeByCodecMessageId(id));
    return {
      runs: runs.map((run) => (run ? showNode(run) : null)),
      messages: owners.map((node) => (node ? codec.getMessages(node.projection) : null)),
      siblings: owners.map((node) => (node ? tree.getSiblingNodes(keyOf(node)).map(keyOf) : [])),
    };
  }

  newView() {
    this.#watch(this.#session.createView());
  }
}

const play = async ({ scripts }) => {
  const shown = [];
  for (const { steps, ...setup } of scripts) shown.push(await new Player(setup).play(steps));
  return shown;
};

await serve({ play }, async () => {});
