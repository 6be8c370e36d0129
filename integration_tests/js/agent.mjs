// An agent that serves runs, driven line by line.
//
// Each run plays a program: a list of steps in the order in which an application would call the SDK.
//   {"do": "load", "limit"?}        page the history until it is exhausted
//   {"do": "start"}                 open the run (or take over an adopted one)
//   {"do": "pipe", "script"}        stream a script
//   {"do": "respond", "scripts"}    stream the next script for as long as there is input
//   {"do": "step", "script", "stepId"?, "reason"?, "sends"?}   the same within a step of its own
//   {"do": "gate", "name"}          wait for a gate between steps
//   {"do": "suspend"} or {"do": "end", "reason"?, "error"?}    as the last pipe went, where no reason is given
//   {"do": "detach"}                let go of the session, the run stays open
import { createAgentSession, Invocation } from '@ably/ai-transport';
import * as Ably from 'ably';

import { closeClient, openClient } from './lib/ably.mjs';
import { chosenCodec } from './lib/codecs.mjs';
import { describeError, emit, Registry, serve } from './lib/peer.mjs';
import { Gates, play } from './lib/script.mjs';

const gates = new Gates();
const sessions = new Registry('session');
let defaults;

const openSession = async (channel, { options, session: sessionOptions } = {}) => {
  const client = openClient({ ...defaults, ...options });
  const session = createAgentSession({ client, channelName: channel, codec: chosenCodec, ...sessionOptions });
  session.on('error', (error) => emit('error', { error: describeError(error) }));
  await session.connect();
  await client.channels.get(channel).subscribe('ai-cancel', () => emit('cancel-heard'));
  const close = async (how = 'end') => {
    await session[how]();
    await closeClient(client);
  };
  return { session, close };
};

const errorOf = ({ message, code, statusCode } = {}) => new Ably.ErrorInfo(message, code ?? 104008, statusCode ?? 500);

/** The steps that a program is made of; each gets the run, its own arguments and what earlier steps left behind. */
const steps = {
  async load(run, { limit = 100 }) {
    while (run.view.hasOlder()) await run.view.loadOlder(limit);
  },

  async start(run, _, state) {
    await (run.start ?? run.load).call(run);
    state.conversation = structuredClone(run.view.getMessages()); // later outputs change its messages
    emit('started', { serve: state.name, runId: run.runId, invocationId: run.invocationId });
  },

  async pipe(run, { script }, state) {
    state.outcome = await run.pipe(play(script, gates, run.abortSignal));
  },

  async respond(run, { scripts }, state) {
    for (const script of scripts) {
      if (!run.hasInput()) break;
      state.passes = (state.passes ?? 0) + 1;
      state.outcome = await run.pipe(play(script, gates, run.abortSignal));
    }
  },

  async step(run, { script, stepId, sends = [], reason }, state) {
    const step = run.createStep(stepId ? { stepId } : undefined);
    await step.start();
    for (const output of sends) await step.send(output);
    if (script) state.outcome = await step.pipe(play(script, gates, run.abortSignal));
    if (reason !== 'leave-open') await step.end(reason ? { reason } : undefined);
  },

  gate: (run, { name }) => gates.wait(name, run.abortSignal),
  suspend: (run) => run.suspend(),

  async end(run, { reason, error }, { outcome }) {
    const why = reason ?? outcome?.reason ?? 'complete';
    if (why !== 'error') return run.end({ reason: why });
    const detail = error ?? (outcome?.error && { message: outcome.error.message });
    return run.end({ reason: 'error', ...(detail ? { error: errorOf(detail) } : {}) });
  },

  detach(run, _, state) {
    state.close = 'detach';
  },
};

const hooksOf = (name, { refuseCancel, lastWords }) => ({
  onError: (error) => emit('run-error', { serve: name, error: describeError(error) }),
  onSteer: () => emit('steer', { serve: name }),
  ...(refuseCancel
    ? {
        onCancel: async ({ runId }) => {
          emit('cancel-refused', { serve: name, runId });
          return false;
        },
      }
    : {}),
  ...(lastWords
    ? {
        onCancelled: async (write) => {
          for (const output of lastWords) await write(output);
        },
      }
    : {}),
});

const perform = async (run, program, state) => {
  for (const { do: what, ...args } of program) {
    if (!steps[what]) throw new Error(`no such step: ${what}`);
    await steps[what](run, args, state);
  }
  return {
    runId: run.runId,
    invocationId: run.invocationId,
    status: run.status,
    outcome: state.outcome?.reason ?? null,
    error: describeError(state.outcome?.error) ?? null,
    passes: state.passes ?? null,
    conversation: state.conversation ?? null,
    messages: run.messages,
  };
};

const operations = {
  // The options of the Ably clients that serve what follows.
  configure({ options }) {
    defaults = options;
  },

  async openSession({ channel, ...how }) {
    return { session: sessions.add(await openSession(channel, how)) };
  },

  closeSession: ({ session, how }) => sessions.get(session).close(how),

  // Serve one invocation from beginning to end: in a session that is open, or in one of its own.
  async serve({ name, invocation, program, session, adopt, identity, hooks = {}, ...how }) {
    const pointer = Invocation.fromJSON(invocation);
    const open = session ? sessions.get(session) : await openSession(pointer.sessionName, how);
    const state = { name };
    try {
      const runHooks = hooksOf(name, hooks);
      const run = adopt
        ? open.session.adoptRun(pointer, identity, runHooks)
        : open.session.createRun(pointer, identity, runHooks);
      run.abortSignal.addEventListener('abort', () => emit('cancelled', { serve: name }), { once: true });
      emit('serving', { serve: name, invocationId: run.invocationId });
      return await perform(run, program, state);
    } finally {
      if (!session) await open.close(state.close);
    }
  },

  open: ({ gate }) => gates.open(gate),
};

await serve(operations, async () => {
  await Promise.allSettled(sessions.values().map(({ close }) => close()));
});
