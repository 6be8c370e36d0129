// Plain Ably clients, driven line by line: as many as a test names, in one process.
import { closeClient, openClient } from './lib/ably.mjs';
import { describeError, emit, serve } from './lib/peer.mjs';

const clients = new Map();

const clientOf = (name) => {
  const client = clients.get(name);
  if (!client) throw new Error(`no such client: ${name}`);
  return client;
};

const channelOf = ({ client, channel, options }) => clientOf(client).channels.get(channel, options);

// Binary data is an object with its base64.
const pack = (data) => (Buffer.isBuffer(data) ? { $base64: data.toString('base64') } : data);
const unpack = (data) => (data?.$base64 === undefined ? data : Buffer.from(data.$base64, 'base64'));

const show = ({ action, id, name, data, serial, version, timestamp, clientId, connectionId, extras }) => ({
  action,
  id,
  name,
  data: pack(data),
  serial,
  version,
  timestamp,
  clientId,
  connectionId,
  extras,
});

const showMember = ({ action, clientId, data }) => ({ action, clientId, data });

const stateOf = ({ state, errorReason }) => ({ state, error: describeError(errorReason) ?? null });

const reached = async (emitter, wanted) => {
  if (emitter.state !== wanted) await new Promise((resolve) => emitter.once(wanted, resolve));
  return stateOf(emitter);
};

const operations = {
  async connect({ client, options }) {
    const opened = openClient(options);
    clients.set(client, opened);
    opened.connection.on(({ current, reason }) =>
      emit('connection', { client, state: current, error: describeError(reason) ?? null }),
    );
    await new Promise((resolve) => opened.connection.once(['connected', 'failed'], resolve));
    return { connectionId: opened.connection.id, clientId: opened.auth.clientId, ...stateOf(opened.connection) };
  },

  connection: ({ client }) => ({ connectionId: clientOf(client).connection.id, ...stateOf(clientOf(client).connection) }),
  connectionState: ({ client, state }) => reached(clientOf(client).connection, state),
  channelState: ({ state, ...target }) => reached(channelOf(target), state),

  async attach(target) {
    const channel = channelOf(target);
    await channel.attach();
    channel.on(['attached', 'update', 'detached', 'suspended', 'failed'], ({ current, resumed, reason }) =>
      emit('channel', { ...target, state: current, resumed: resumed ?? false, error: describeError(reason) ?? null }),
    );
  },

  async subscribe(target) {
    await channelOf(target).subscribe((message) =>
      emit('message', { client: target.client, channel: target.channel, message: show(message) }),
    );
  },

  async publish({ messages, ...target }) {
    const outgoing = messages.map((message) => ({ ...message, data: unpack(message.data) }));
    const { serials } = await channelOf(target).publish(outgoing);
    return serials;
  },

  async append({ message, operation, ...target }) {
    return (await channelOf(target).appendMessage(message, operation)).versionSerial;
  },

  async update({ message, operation, ...target }) {
    return (await channelOf(target).updateMessage(message, operation)).versionSerial;
  },

  async delete({ message, operation, ...target }) {
    return (await channelOf(target).deleteMessage(message, operation)).versionSerial;
  },

  async history({ query, ...target }) {
    const pages = [];
    let page = await channelOf(target).history(query);
    while (page) {
      pages.push(page.items.map(show));
      page = page.hasNext() ? await page.next() : null;
    }
    return pages;
  },

  message: async ({ serial, ...target }) => show(await channelOf(target).getMessage(serial)),
  versions: async ({ serial, ...target }) => (await channelOf(target).getMessageVersions(serial)).items.map(show),

  enter: ({ data, ...target }) => channelOf(target).presence.enter(data),
  leave: ({ data, ...target }) => channelOf(target).presence.leave(data),
  members: async (target) => (await channelOf(target).presence.get()).map(showMember),

  async watchPresence(target) {
    await channelOf(target).presence.subscribe((member) =>
      emit('presence', { client: target.client, member: showMember(member) }),
    );
  },

  async close({ client }) {
    await closeClient(clientOf(client));
  },
};

await serve(operations, async () => {
  await Promise.all([...clients.values()].map(closeClient));
});
