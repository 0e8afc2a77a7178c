// Calls of the gateway's public API. The session's cookie is sent to this origin only.

const TIMEOUT_MS = 20_000;
const RETRY_MS = 1_000;
const IDLE_MS = 600_000;
/** The age up to which a check of the user is not repeated. */
const CHECK_MS = 1_000;

/** An error response, or no response at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, { code, message, details, traceId }) {
    super(message);
    this.status = status;
    this.code = code;
    /** The issues by field: `[{ field, issue }]`. */
    this.details = details ?? [];
    this.traceId = traceId;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return [0, 408, 429].includes(this.status) || this.status >= 500;
  }
}

let usedAt = Date.now();
for (const name of ['pointerdown', 'keydown', 'focus']) addEventListener(name, () => (usedAt = Date.now()));

/** Whether the page is visible and was used lately. Other pages do not poll: a request extends the session. */
export function isInUse() {
  return !document.hidden && Date.now() - usedAt < IDLE_MS;
}

/** The id of the user of this page. */
export let userId;

export function setUser(id) {
  userId = id;
}

let check;
let checkedAt = 0;
let isReplaced = false;

/**
 * Checks that the user of this page is still signed in. If another tab has signed in another user,
 * the page of that user replaces this one, which sends no further request. The end of the session
 * is the event `sessionend` of the window.
 */
export function checkUser() {
  if (Date.now() - checkedAt > CHECK_MS) {
    checkedAt = Date.now();
    check = compareUser();
  }
  return check;
}

async function compareUser() {
  try {
    const me = await get('/auth/me', { stay: true });
    isReplaced = me.userId !== userId;
    if (isReplaced) location.reload();
  } catch (error) {
    // Only a success is worth remembering.
    checkedAt = 0;
    if (error.status === 401) dispatchEvent(new Event('sessionend'));
    throw error;
  }
}

/** Sends the browser to the login, and from there back to this page. */
export function signIn() {
  const target = encodeURIComponent(location.pathname + location.search);
  location.assign(`/oauth2/authorization/keycloak?returnTo=${target}`);
}

/**
 * Sends a request below `/api/v1` and returns the JSON of the response. `body` is sent as JSON
 * unless it is a blob. A 401 leads to the login unless `stay` is set: forms keep their input. Before
 * a change the user is checked: it must not be attributed to another one.
 */
export async function call(method, path, { body, headers, stay = false, keepalive } = {}) {
  // A page that is being left has no time for the check.
  if (method !== 'GET' && !keepalive) await checkUser().catch((error) => fail(error, stay));
  if (isReplaced) await new Promise(() => {});
  const options = {
    method,
    credentials: 'same-origin',
    headers: { accept: 'application/json', ...headers },
    keepalive,
  };
  if (body !== undefined) {
    const raw = body instanceof Blob;
    options.headers['content-type'] = raw ? body.type : 'application/json';
    options.body = raw ? body : JSON.stringify(body);
  }
  let result = await send(path, options);
  if (result.response.status === 429 && method === 'GET') {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    result = await send(path, options);
  }
  return result.response.ok ? result.data : fail(toError(result), stay);
}

function fail(error, stay) {
  if (error.status === 401 && !stay) signIn();
  throw error;
}

/** Returns the response, its complete body, and the JSON of a success. */
async function send(path, options) {
  try {
    const response = await fetch(`/api/v1${path}`, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    return { response, text, data: response.ok && text ? JSON.parse(text) : null };
  } catch (cause) {
    // A success without JSON comes from a network with its own login page.
    const late = cause.name === 'TimeoutError';
    throw new ApiError(0, { message: late ? 'The gateway did not respond in time.' : 'The gateway cannot be reached.' });
  }
}

function toError({ response, text }) {
  const { status } = response;
  const traceId = response.headers.get('x-trace-id');
  try {
    const { error } = JSON.parse(text);
    // The 401 of `/auth/me` is not the envelope: its error is a word.
    if (error.message) return new ApiError(status, { traceId, ...error });
  } catch {
    // Not the envelope: only the status is known.
  }
  return new ApiError(status, { traceId, message: status === 401 ? 'Your session has ended.' : `The gateway responded with ${status}.` });
}

export const get = (path, options) => call('GET', path, options);
export const post = (path, body, options) => call('POST', path, { ...options, body });
export const put = (path, body, options) => call('PUT', path, { ...options, body });

/** Returns a query string of the parameters that have a value. */
export function query(parameters) {
  const entries = Object.entries(parameters).filter(([, value]) => value || value === 0);
  return entries.length ? `?${new URLSearchParams(entries)}` : '';
}
