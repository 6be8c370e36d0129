// Ably clients as the drivers make them.
import * as Ably from 'ably';

/** Create a client; its log goes to stderr, and errors that it only logs are not lost there. */
export const openClient = (options) =>
  new Ably.Realtime({ logHandler: (line) => process.stderr.write(`${line}\n`), logLevel: 1, ...options });

/** Close a client and wait until it is. */
export const closeClient = async (client) => {
  const { connection } = client;
  if (connection.state === 'closed' || connection.state === 'failed') return;
  const closed = new Promise((resolve) => {
    connection.once('closed', resolve);
    connection.once('failed', resolve);
  });
  client.close();
  await closed;
};
