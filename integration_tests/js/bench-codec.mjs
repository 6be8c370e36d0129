// The JavaScript side of the measurements of a codec: what a delta costs to write, to read and to fold.
import { codecs } from './lib/codecs.mjs';
import { readFileSync } from 'node:fs';

const { file } = JSON.parse(process.argv.at(-1));
const { codec: name, outputs, headers, messages, rounds } = JSON.parse(readFileSync(file, 'utf8'));
const codec = codecs[name];

let serial = 0;
const next = () => String((serial += 1)).padStart(9, '0');
const channel = {
  publish: async (sent) => ({ serials: [sent].flat().map(next) }),
  appendMessage: async () => ({ versionSerial: next() }),
  updateMessage: async () => ({ versionSerial: next() }),
};

const micros = async (work) => {
  const began = performance.now();
  await work();
  return ((performance.now() - began) * 1000) / outputs.length;
};

const encode = async () => {
  const encoder = codec.createEncoder(channel, { extras: { headers } });
  for (const event of outputs) await encoder.publishOutput(event, { messageId: 'm' });
  await encoder.close();
};

const decodeAll = () => {
  const decoder = codec.createDecoder();
  return messages.flatMap((message) => decoder.decode(message).outputs);
};

const fold = (events) => {
  let projection = codec.init();
  for (const event of events) {
    projection = codec.fold(projection, { direction: 'output', event }, { serial: 's', messageId: 'm' });
  }
  return codec.getMessages(projection);
};

const took = { encode: [], decode: [], fold: [] };
for (let i = 0; i < rounds; i += 1) {
  took.encode.push(await micros(encode));
  let events;
  took.decode.push(await micros(async () => (events = decodeAll())));
  took.fold.push(await micros(async () => fold(events)));
}
const shown = JSON.stringify(fold(decodeAll())).length;
console.log(JSON.stringify({ ...took, shown: shown > 0 }));
