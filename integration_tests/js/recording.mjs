// Turns recorded answers of a model's API into what the AI SDK streams to a user interface.
//
//   node recording.mjs openai-responses/one.jsonl …   →   one {"file", "chunk"} a line
//
// The real provider package and the real `streamText` run; only their network is replaced by the recording.
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { streamText } from 'ai';

const providers = {
  openai: (fetch) => createOpenAI({ apiKey: 'none', fetch }).responses('gpt-5'),
  anthropic: (fetch) => createAnthropic({ apiKey: 'none', fetch })('claude-sonnet-4-5'),
};

const replay = async (path) => {
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line.trim());
  const body = lines.map((line) => `data: ${line}\n\n`).join('');
  return async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
};

for (const file of process.argv.slice(2)) {
  const provider = basename(dirname(file)).split('-')[0];
  const result = streamText({
    model: providers[provider](await replay(file)),
    prompt: 'Answer as you did before.',
    onError: ({ error }) => console.error(error),
  });
  for await (const chunk of result.toUIMessageStream({ sendSources: true, sendReasoning: true })) {
    process.stdout.write(`${JSON.stringify({ file, chunk })}\n`);
  }
}
