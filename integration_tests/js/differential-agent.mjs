// Plays scripts to agent sessions whose channel takes everything, and tells after each step what was published.
// See ../differential/agents.py for the steps.
import { Invocation } from '@ably/ai-transport';
import { createAgentSession } from '@ably/ai-transport/vercel';
import * as Ably from 'ably';

import { Names } from './lib/names.mjs';
import { serve } from './lib/peer.mjs';
import { showError } from './lib/show.mjs';

const ACTIONS = { publish: 'message.create', append: 'message.append', update: 'message.update' };

/** Takes everything that is published, numbers it, and brings it back at the end of the step. */
class Channel {
  state = 'initialized';
  frames = [];
  #listeners = new Set();
  #echoes = [];
  #names;
  #stored = new Map();
  #count = 0;
  #newest = '';

  constructor(name, names) {
    this.name = name;
    this.#names = names;
  }

  deliver(message) {
    for (const listener of [...this.#listeners]) listener(message);
  }

  // What is published from now on comes after it.
  bring(message) {
    this.#newest = message.serial;
    this.deliver(message);
  }

  echo() {
    for (const echo of this.#echoes.splice(0)) this.deliver(echo);
  }

  #take(kind, { name, data, extras, serial }) {
    const number = String((this.#count += 1)).padStart(6, '0');
    const version = `${this.#newest}~${number}`;
    this.#names.learn({ extras });
    this.frames.push(JSON.parse(JSON.stringify({ kind, name, data, extras, serial })));
    const first = this.#stored.get(serial) ?? { name, serial: version, timestamp: this.#count };
    this.#stored.set(first.serial, first);
    this.#echoes.push(
      JSON.parse(
        JSON.stringify({
          ...first,
          action: ACTIONS[kind],
          version: { serial: version, timestamp: this.#count },
          data,
          extras,
          clientId: 'agent',
        }),
      ),
    );
    return version;
  }

  publish = async (messages) => ({ serials: [messages].flat().map((message) => this.#take('publish', message)) });
  appendMessage = async (message) => ({ versionSerial: this.#take('append', message) });
  updateMessage = async (message) => ({ versionSerial: this.#take('update', message) });

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
  history = async () => ({ items: [], hasNext: () => false, next: async () => null });
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function* stream(chunks) {
  for (const chunk of chunks) {
    if (chunk.throw) throw new Error(chunk.throw);
    yield structuredClone(chunk);
  }
}

class Player {
  #names = new Names(['event-id', 'codec-message-id', 'step-id']);
  #channel = new Channel('differential', this.#names);
  #session;
  #runs = [];
  #steps = [];
  #heard = [];

  async play(steps) {
    const client = {
      options: { agents: {} },
      auth: { clientId: 'agent' },
      connection: { state: 'connected', on: () => {}, off: () => {} },
      channels: { get: () => this.#channel },
    };
    this.#session = createAgentSession({ client, channelName: 'differential' });
    this.#session.on('error', (error) => this.#heard.push(`session ${error.code}`));
    await this.#session.connect();
    const shown = [];
    for (const step of steps) shown.push(await this.#take(this.#names.reveal(step)));
    await this.#session.end();
    return shown;
  }

  async #take(step) {
    const before = this.#channel.frames.length;
    let error = null;
    let result = null;
    try {
      result = (await this[step.op](step)) ?? null;
    } catch (raised) {
      error = typeof raised.code === 'number' ? { code: raised.code, statusCode: raised.statusCode } : String(raised);
    }
    await settled();
    this.#channel.echo();
    await settled();
    const shown = {
      error,
      result,
      frames: this.#channel.frames.slice(before),
      runs: this.#runs.map((run) => ({
        runId: run.runId,
        status: run.status,
        error: showError(run.error) ?? null,
        aborted: run.abortSignal.aborted,
        messages: run.messages,
        view: run.view.getMessages(),
      })),
      heard: this.#heard.splice(0),
    };
    return this.#names.conceal(shown);
  }

  deliver({ message }) {
    this.#channel.bring(message);
  }

  create({ inputEventId, runId, invocationId, adopted }) {
    const invocation = Invocation.fromJSON({ inputEventId, sessionName: 'differential' });
    const place = this.#runs.length;
    const hooks = {
      onSteer: () => this.#heard.push(`steer ${place}`),
      onError: (error) => this.#heard.push(`run ${place} ${error.code}`),
    };
    const identity = { runId, invocationId };
    const run = adopted
      ? this.#session.adoptRun(invocation, identity, hooks)
      : this.#session.createRun(invocation, identity, hooks);
    run.located.catch(() => {});
    this.#runs.push(run);
  }

  async start({ run }) {
    await this.#runs[run].start();
  }

  async load({ run }) {
    await this.#runs[run].load();
  }

  async pipe({ run, chunks }) {
    return (await this.#runs[run].pipe(stream(chunks))).reason;
  }

  hasInput({ run }) {
    return this.#runs[run].hasInput();
  }

  createStep({ run, stepId, stepClientId }) {
    this.#steps.push(this.#runs[run].createStep({ stepId, stepClientId }));
  }

  async startStep({ step }) {
    await this.#steps[step].start();
  }

  async pipeStep({ step, chunks }) {
    return (await this.#steps[step].pipe(stream(chunks))).reason;
  }

  async sendStep({ step, chunk }) {
    await this.#steps[step].send(chunk);
  }

  async endStep({ step, reason }) {
    await this.#steps[step].end(reason && { reason });
  }

  async suspend({ run }) {
    await this.#runs[run].suspend();
  }

  async end({ run, reason, error }) {
    const detail = error && new Ably.ErrorInfo(error.message, error.code, error.statusCode);
    await this.#runs[run].end({ reason, ...(detail && { error: detail }) });
  }
}

const play = async ({ scripts }) => {
  const shown = [];
  for (const { steps } of scripts) shown.push(await new Player().play(steps));
  return shown;
};

await serve({ play }, async () => {});
