// Actions of the warehouse: stored first, then sent in order. Each has one idempotency key for
// all attempts, so that an action whose response was lost has one effect.

import { ApiError, post, userId } from '../shared/api.js';
import { actionsOf, withStore } from './database.js';

const FIRST_DELAY_MS = 2_000;
const MAX_DELAY_MS = 60_000;
/** The number of completed actions that stay visible. */
const KEPT = 50;

/** Returns a key of 128 random bits. `randomUUID` is missing outside secure contexts. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Holds the lock of the queue: of several tabs, one sends. */
function alone(run) {
  return navigator.locks ? navigator.locks.request('dm-warehouse-queue', run) : run();
}

/** The actions of the user on this device. Dispatches `change` after each change. */
export class Queue extends EventTarget {
  /** The actions, oldest first: `state` is `waiting`, `done` or `failed`. */
  actions = [];
  /** Why waiting actions are not sent, or `undefined`. */
  problem;
  needsSignIn = false;
  sending;
  #delay = FIRST_DELAY_MS;
  #timer;

  static async open() {
    const queue = new Queue();
    await queue.#read();
    addEventListener('online', () => queue.run());
    document.addEventListener('visibilitychange', () => !document.hidden && queue.run());
    queue.run();
    return queue;
  }

  get waiting() {
    return this.actions.filter(({ state }) => state === 'waiting');
  }

  /** Whether an earlier action of the shipment failed: the user decides what follows. */
  isHeld({ shipmentId, sequence, state }) {
    return state === 'waiting' && this.actions.some((other) => other.shipmentId === shipmentId && other.state === 'failed' && other.sequence < sequence);
  }

  /**
   * Stores an action and tries to send it. Returns it as it is then: `waiting` without a
   * connection. An action that the service refuses at once is not kept.
   */
  async add(kind, shipmentId, body) {
    const action = { user: userId, key: newKey(), kind, shipmentId, body, createdAt: new Date().toISOString(), state: 'waiting' };
    action.sequence = await withStore('actions', 'readwrite', (store) => store.add(action));
    await this.#changed();
    await this.run();
    const stored = this.actions.find(({ sequence }) => sequence === action.sequence);
    if (stored?.state !== 'failed') return stored ?? action;
    await this.discard(stored);
    throw new ApiError(stored.status, stored);
  }

  async retry(action) {
    const { message, ...rest } = action;
    await this.#store({ ...rest, state: 'waiting' });
    await this.run();
  }

  async discard({ sequence }) {
    await withStore('actions', 'readwrite', (store) => store.delete(sequence));
    await this.#changed();
    this.run();
  }

  /** Sends the waiting actions in order, until one has to wait. */
  run() {
    clearTimeout(this.#timer);
    return alone(async () => {
      await this.#read();
      for (const action of this.waiting) {
        if (this.isHeld(action)) continue;
        if (!(await this.#send(action))) break;
      }
      this.sending = undefined;
      await this.#trim();
      await this.#changed();
    });
  }

  /** Sends one action. Returns whether the next one may be sent. */
  async #send(action) {
    const { kind, shipmentId, body, key, sequence } = action;
    this.sending = sequence;
    this.#announce();
    try {
      const path = `/warehouse/shipments/${encodeURIComponent(shipmentId)}/${kind}`;
      const result = await post(path, body, { headers: { 'idempotency-key': key }, stay: true });
      await this.#store({ ...action, state: 'done', result });
      Object.assign(this, { problem: undefined, needsSignIn: false });
      this.#delay = FIRST_DELAY_MS;
      return true;
    } catch (error) {
      this.needsSignIn = error.status === 401;
      if (!error.isTemporary && !this.needsSignIn) {
        const { status, code, message, traceId } = error;
        await this.#store({ ...action, state: 'failed', status, code, message, traceId });
        return true;
      }
      this.problem = error.message;
      this.#timer = setTimeout(() => this.run(), this.#delay);
      this.#delay = Math.min(2 * this.#delay, MAX_DELAY_MS);
      return false;
    }
  }

  async #store(action) {
    await withStore('actions', 'readwrite', (store) => store.put(action));
    await this.#changed();
  }

  async #trim() {
    const done = this.actions.filter(({ state }) => state === 'done').slice(0, -KEPT);
    if (done.length) await withStore('actions', 'readwrite', (store) => done.forEach(({ sequence }) => store.delete(sequence)));
  }

  /** Another tab may have changed the table. */
  async #read() {
    this.actions = await actionsOf(userId);
    if (!this.waiting.length) this.problem = undefined;
  }

  async #changed() {
    await this.#read();
    this.#announce();
  }

  #announce() {
    this.dispatchEvent(new Event('change'));
  }
}
