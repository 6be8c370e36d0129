// Scripts: what a model would stream, with places where it waits or fails.
//
// A script is a list of UI message chunks, as the AI SDK streams them, and of these:
//   {"gate": "name"}         wait until the gate is opened
//   {"throw": "message"}     fail
//   {"untilCancelled": true} wait until the run is cancelled
//   {"file": "path"}         the chunks of a file, one JSON value a line
import { readFile } from 'node:fs/promises';

import { emit } from './peer.mjs';

/** Gates by name. Each opens once, before or after somebody waits at it. */
export class Gates {
  #gates = new Map();

  #of(name) {
    let gate = this.#gates.get(name);
    if (!gate) {
      gate = {};
      gate.opened = new Promise((resolve) => (gate.open = resolve));
      this.#gates.set(name, gate);
    }
    return gate;
  }

  open(name) {
    this.#of(name).open();
  }

  /** Say that somebody waits, and wait. */
  async wait(name, signal) {
    emit('gate', { name });
    await Promise.race([this.#of(name).opened, aborted(signal)]);
  }
}

/** Resolves once a signal has fired. */
export const aborted = (signal) =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', resolve, { once: true });
  });

/** Play a script as a stream of chunks. */
export async function* play(script, gates, signal) {
  for (const item of script) {
    if (item.type) {
      yield item;
    } else if (item.gate) {
      await gates.wait(item.gate, signal);
    } else if (item.throw) {
      throw new Error(item.throw);
    } else if (item.untilCancelled) {
      await aborted(signal);
    } else if (item.file) {
      const lines = (await readFile(item.file, 'utf8')).split('\n').filter((line) => line.trim());
      yield* play(lines.map((line) => JSON.parse(line)), gates, signal);
    } else {
      throw new Error(`no such item in a script: ${JSON.stringify(item)}`);
    }
    if (signal.aborted) return;
  }
}
