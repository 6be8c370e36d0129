// What a driver can do wrong, on demand: for the tests of the harness itself.
import { emit, serve } from './lib/peer.mjs';

await serve(
  {
    echo: ({ value }) => value,
    fail: ({ message, code }) => Promise.reject(Object.assign(new Error(message), { code })),
    tell: ({ event, ...details }) => emit(event, details),
    complain: ({ text }) => process.stderr.write(`${text}\n`),
    forget: ({ message }) => void Promise.reject(new Error(message)),
    never: () => new Promise(() => {}),
    die: ({ status }) => process.exit(status),
  },
  () => {},
);
