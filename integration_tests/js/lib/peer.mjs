// The line protocol of a driver: one JSON command a line on stdin, one JSON answer or event a line on stdout.
//
//   in   {"id": 1, "op": "send", ...arguments}
//   out  {"id": 1, "result": ...} or {"id": 1, "error": {"code", "statusCode", "message", "name"}}
//   out  {"event": "...", ...} at any time
//
// Commands run side by side: an answer may overtake an earlier one. Everything that a library prints goes to stderr.
import { createInterface } from 'node:readline';

console.log = console.info = console.warn = console.debug = console.error;

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Report something that no command asked for. */
export const emit = (event, details = {}) => write({ event, ...details });

/** An error as the other side can read it. */
export const describeError = (error) => {
  if (error === undefined || error === null) return undefined;
  const { code, statusCode, message, name, cause } = error;
  return {
    code: code ?? null,
    statusCode: statusCode ?? null,
    message: message ?? String(error),
    name: name ?? null,
    ...(cause ? { cause: describeError(cause) } : {}),
  };
};

const reportUnhandled = (kind) => (error) =>
  emit('unhandled', { kind, error: describeError(error), stack: error?.stack ?? null });
process.on('unhandledRejection', reportUnhandled('rejection'));
process.on('uncaughtException', reportUnhandled('exception'));

const answer = async (operations, { id, op, ...args }) => {
  try {
    const operation = operations[op];
    if (!operation) throw new Error(`no such operation: ${op}`);
    write({ id, result: (await operation(args)) ?? null });
  } catch (error) {
    write({ id, error: describeError(error) });
  }
};

/**
 * Serve commands until stdin ends, then close.
 * @param operations - Functions by name; each gets its command's arguments and may be asynchronous.
 * @param close - Called once stdin has ended.
 */
export const serve = async (operations, close) => {
  emit('ready', { node: process.version });
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim()) void answer(operations, JSON.parse(line));
  }
  await close();
};

/** A named collection that hands out its own names: r1, r2, … */
export class Registry {
  #prefix;
  #items = new Map();
  #next = 1;

  constructor(prefix) {
    this.#prefix = prefix;
  }

  add(item) {
    const name = `${this.#prefix}${this.#next++}`;
    this.#items.set(name, item);
    return name;
  }

  get(name) {
    const item = this.#items.get(name);
    if (item === undefined) throw new Error(`no such handle: ${name}`);
    return item;
  }

  values() {
    return [...this.#items.values()];
  }
}
