// Server-sent events that reconnect, also after a response that ends an EventSource.

import { checkUser } from './api.js';

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;

/**
 * Opens a stream below `/api/v1`. `onEvent(data)` gets the JSON of each event called `name`.
 * `onState` gets `live`, `waiting` or `ended`, and a message. A hidden page holds no connection.
 * Returns a function that closes the stream.
 */
export function openStream(path, name, onEvent, onState) {
  let source;
  let timer;
  let delay = FIRST_DELAY_MS;
  let ended = false;

  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  };
  const retry = () => {
    stop();
    // The check may outlast the stream, or the time in which the page is visible.
    if (ended || document.hidden) return;
    onState('waiting', 'Reconnecting…');
    // An EventSource does not distinguish a 401 from other failures: the check of the user does.
    const check = () => checkUser().then(open, (error) => (error.status === 401 ? onState('ended', error.message) : retry()));
    timer = setTimeout(check, delay);
    delay = Math.min(delay * 2, MAX_DELAY_MS);
  };
  const open = () => {
    stop();
    if (ended || document.hidden) return;
    source = new EventSource(`/api/v1${path}`);
    source.onopen = () => {
      delay = FIRST_DELAY_MS;
      onState('live', 'Live');
    };
    source.addEventListener(name, (event) => {
      onState('live', 'Live');
      onEvent(JSON.parse(event.data));
    });
    // Of the server if it has data, otherwise of the connection.
    source.addEventListener('error', (event) => {
      if (event.data === undefined) return retry();
      const { message } = JSON.parse(event.data);
      const last = message.endsWith('was not found');
      if (last) close();
      onState(last ? 'ended' : 'waiting', message);
    });
  };
  const onVisibility = () => (document.hidden ? stop() : open());
  const close = () => {
    ended = true;
    document.removeEventListener('visibilitychange', onVisibility);
    stop();
  };

  document.addEventListener('visibilitychange', onVisibility);
  open();
  return close;
}
