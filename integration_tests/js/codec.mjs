// Writes events with the codecs of the npm package onto a channel that takes everything, and tells what was written.
import { codecs } from './lib/codecs.mjs';
import { describeError, serve } from './lib/peer.mjs';

class Channel {
  frames = [];
  #count = 0;

  #write(op, message) {
    this.#count += 1;
    const { name, data, extras, serial, ephemeral } = message;
    this.frames.push(JSON.parse(JSON.stringify({ op, name, data, extras, serial, ephemeral })));
    return String(this.#count).padStart(6, '0');
  }

  publish = async (messages) => ({ serials: [messages].flat().map((message) => this.#write('publish', message)) });
  appendMessage = async (message) => ({ versionSerial: this.#write('append', message) });
  updateMessage = async (message) => ({ versionSerial: this.#write('update', message) });
}

const encodeCase = async (codec, { outputs = [], inputs = [], headers, messageId, codecMessageId, closes }) => {
  const channel = new Channel();
  const encoder = codec.createEncoder(channel, { extras: { headers }, messageId });
  const options = codecMessageId === null ? undefined : { messageId: codecMessageId };
  const errors = [];
  const attempt = async (write) => {
    try {
      await write();
      errors.push(null);
    } catch (error) {
      errors.push(describeError(error));
    }
  };
  for (const event of outputs) await attempt(() => encoder.publishOutput(event, options));
  for (const event of inputs) await attempt(() => encoder.publishInput(event, options));
  if (closes) await encoder.cancelStreams();
  await encoder.close();
  return { frames: channel.frames, errors };
};

const encode = async ({ codec, cases }) => {
  const written = [];
  for (const one of cases) written.push(await encodeCase(codecs[codec], one));
  return written;
};

await serve({ encode }, async () => {});
