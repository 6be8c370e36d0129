// The codecs by name. A driver speaks the one that its first argument names.
import { ResponsesCodec } from '@ably/ai-transport/openai';
import { createUIMessageCodec } from '@ably/ai-transport/vercel';

export const codecs = { vercel: createUIMessageCodec(), openai: ResponsesCodec };

export const chosenCodec = codecs[process.argv[2] ?? 'vercel'];
