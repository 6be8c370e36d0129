// Turns the recorded answer of a model's API into what the AI SDK streams to a user interface.
//
//   node recording.mjs openai|anthropic recording.jsonl   →   one UI message chunk a line
//
// The real provider package and the real `streamText` run; only their network is replaced by the recording.
import { readFile } from 'node:fs/promises';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { streamText } from 'ai';

const providers = {
  openai: (fetch) => createOpenAI({ apiKey: 'none', fetch }).responses('gpt-5'),
  anthropic: (fetch) => createAnthropic({ apiKey: 'none', fetch })('claude-sonnet-4-5'),
};

const [provider, file] = process.argv.slice(2);
const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line.trim());
const body = lines.map((line) => `data: ${line}\n\n`).join('');
const replay = async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });

const result = streamText({
  model: providers[provider](replay),
  prompt: 'Answer as you did before.',
  onError: ({ error }) => console.error(error),
});
for await (const chunk of result.toUIMessageStream({ sendSources: true, sendReasoning: true })) {
  process.stdout.write(`${JSON.stringify(chunk)}\n`);
}
