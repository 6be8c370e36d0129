// Names for ids that a session makes up.
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const TOKEN = /~\d+~/g;

/** Gives made-up ids names that are the same on the other side: numbers, in the order of their first publication. */
export class Names {
  #headers;
  #tokens = new Map();
  #raw = new Map();

  /** @param headers - The transport headers that hold such ids. */
  constructor(headers) {
    this.#headers = headers;
  }

  /** Name the new ids of a message that is published. */
  learn({ data, extras }) {
    const headers = extras?.ai?.transport ?? {};
    const said = this.#headers.map((header) => headers[header] ?? '');
    for (const raw of (said.join('') + JSON.stringify(data ?? '')).match(UUID) ?? []) {
      if (this.#tokens.has(raw)) continue;
      const token = `~${this.#raw.size}~`;
      this.#tokens.set(raw, token);
      this.#raw.set(token, raw);
    }
  }

  /** Let the ids of others stand as they are. */
  know(value) {
    for (const raw of JSON.stringify(value).match(UUID) ?? []) {
      if (!this.#tokens.has(raw)) this.#tokens.set(raw, raw);
    }
  }

  /** Write names in place of ids. */
  conceal = (value) =>
    JSON.parse(JSON.stringify(value).replace(UUID, (raw) => this.#tokens.get(raw) ?? '~unpublished~'));

  /** Write ids in place of names. */
  reveal(value) {
    this.know(value);
    return JSON.parse(JSON.stringify(value).replace(TOKEN, (token) => this.#raw.get(token) ?? token));
  }
}
