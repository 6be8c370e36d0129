// What a participant sees, as plain JSON, and conditions on it.
/** Why a run failed. */
export const showError = (error) => {
  if (!error) return undefined;
  const { code, statusCode, message } = error;
  return { code, statusCode, message };
};

/** One run of a view. */
export const showRun = ({ error, ...info }) => ({ ...info, ...(error ? { error: showError(error) } : {}) });

/** All that a view shows. */
export const showView = (view) => ({
  messages: view.getMessages(),
  runs: view.runs().map(showRun),
  hasOlder: view.hasOlder(),
});

const textOf = ({ message }) => message.parts.map((part) => part.text ?? '').join('');

const meets = {
  messages: (view, count) => view.getMessages().length >= count,
  runs: (view, count) => view.runs().length >= count,
  text: (view, text) => view.getMessages().some((entry) => textOf(entry).includes(text)),
  reply: (view, text) =>
    view.getMessages().some((entry) => entry.message.role === 'assistant' && textOf(entry).includes(text)),
  status: (view, status) => view.runs().some((run) => run.status === status),
  ended: (_, runId, { tree }) => (tree.getRunNode(runId)?.state.status ?? 'active') !== 'active',
  settled: (view, count) => view.runs().filter((run) => run.status !== 'active').length >= count,
};

const conditionsOf = (wanted) =>
  Object.entries(wanted).map(([name, value]) => {
    if (!meets[name]) throw new Error(`no such condition: ${name}`);
    return (view, session) => meets[name](view, value, session);
  });

/**
 * Wait until a view meets all conditions.
 *
 *   messages: n   at least n messages are visible       text: s    one of them contains s
 *   runs: n       at least n runs are visible           reply: s   an assistant's message contains s
 *   settled: n    at least n of them are not active     status: s  a visible run has this status
 *   ended: id     this run is not active, visible or not
 *
 * Looks again after each change, however many changes one turn of the event loop brings.
 */
export const waitUntil = (session, view, wanted) => {
  const conditions = conditionsOf(wanted);
  const met = () => conditions.every((condition) => condition(view, session));
  return new Promise((resolve, reject) => {
    let due = false;
    const look = () => {
      due = false;
      try {
        if (!met()) return;
      } catch (error) {
        stop();
        reject(error);
        return;
      }
      stop();
      resolve();
    };
    const changed = () => {
      if (due) return;
      due = true;
      setImmediate(look);
    };
    const unsubscribe = [
      view.on('update', changed),
      view.on('run', changed),
      ...['update', 'run', 'output'].map((event) => session.tree.on(event, changed)),
    ];
    const stop = () => unsubscribe.forEach((off) => off());
    look();
  });
};
