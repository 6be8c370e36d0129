// Turns what a model's API streams into what the AI SDK streams to a user interface.
import { anthropic, createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI, openai } from '@ai-sdk/openai';
import { jsonSchema, streamText, tool } from 'ai';

import { serve } from './lib/peer.mjs';

const models = {
  openai: (fetch) => createOpenAI({ apiKey: 'none', fetch }).responses('gpt-5'),
  anthropic: (fetch) => createAnthropic({ apiKey: 'none', fetch })('claude-sonnet-4-5'),
};

const providerTools = {
  openai: {
    apply_patch: () => openai.tools.applyPatch({}),
    code_interpreter: () => openai.tools.codeInterpreter({}),
    computer: () => openai.tools.computer({}),
    file_search: () => openai.tools.fileSearch({ vectorStoreIds: ['v'] }),
    image_generation: () => openai.tools.imageGeneration({}),
    local_shell: () => openai.tools.localShell({}),
    programmatic_tool_calling: () => openai.tools.programmaticToolCalling({}),
    shell: () => openai.tools.shell({}),
    tool_search: () => openai.tools.toolSearch({}),
    web_search: () => openai.tools.webSearch({}),
  },
  anthropic: {
    advisor: () => anthropic.tools.advisor_20260301({ model: 'm' }),
    code_execution: () => anthropic.tools.codeExecution_20250825(),
    computer: () => anthropic.tools.computerToolset_20260801({}),
    tool_search_tool_bm25: () => anthropic.tools.toolSearchBm25_20251119(),
    tool_search_tool_regex: () => anthropic.tools.toolSearchRegex_20251119(),
    web_fetch: () => anthropic.tools.webFetch_20250910(),
    web_search: () => anthropic.tools.webSearch_20250305(),
  },
};

// Any input passes, and nothing runs: only the provider's reading of the stream is of interest.
const toolNamed = (name, provider) => {
  const make = providerTools[provider][name];
  const inputSchema = jsonSchema({});
  return make ? { ...make(), inputSchema, execute: undefined } : tool({ inputSchema });
};

const translate = async ({ provider, events, tools }) => {
  const body = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
  const fetch = async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  const named = tools.map((name) => [name, toolNamed(name, provider)]);
  const result = streamText({
    model: models[provider](fetch),
    prompt: 'Answer.',
    maxRetries: 0,
    tools: named.length ? Object.fromEntries(named) : undefined,
    onError: ({ error }) => console.error(error),
  });
  const chunks = [];
  for await (const chunk of result.toUIMessageStream({ sendSources: true, sendReasoning: true })) chunks.push(chunk);
  return chunks;
};

const stream = async ({ streams }) => {
  const translated = [];
  for (const one of streams) translated.push(await translate(one));
  return translated;
};

await serve({ stream }, async () => {});
