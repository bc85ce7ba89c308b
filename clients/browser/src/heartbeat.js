/** Silence in milliseconds after which a ping is sent. After a second one the connection is lost. */
const HEARTBEAT_INTERVAL = 30_000;

/** Detects a connection on which nothing arrives any more. */
class Heartbeat {
  #clock;
  #ping;
  #lost;
  #timer;

  constructor(clock, { ping, lost }) {
    this.#clock = clock;
    this.#ping = ping;
    this.#lost = lost;
  }

  /** Starts the interval again: something arrived. */
  restart() {
    this.#wait(HEARTBEAT_INTERVAL, () => this.probe(HEARTBEAT_INTERVAL));
  }

  /** Sends a ping, which is to be answered within so many milliseconds. */
  probe(timeout) {
    this.#ping();
    this.#wait(timeout, this.#lost);
  }

  stop() {
    this.#clock.clearTimeout(this.#timer);
  }

  #wait(time, expire) {
    this.stop();
    this.#timer = this.#clock.setTimeout(expire, time);
  }
}

export { Heartbeat };
