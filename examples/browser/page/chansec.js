// Live messages of a channel that chansec's HTTP transport serves. The browser's own EventSource cannot send the header
// Authorization; this reads the same stream with fetch. It has no dependencies: copy it.

/**
 * Subscribes to a channel. A connection that breaks is resumed behind the last message; what the server ended is not.
 *
 * @param {string} url of the channel's events, such as "/channels/news/events"
 * @param {object} options
 * @param {string} options.token is sent in the header Authorization, and nowhere else
 * @param {(message: object, id: string) => void} options.onMessage is called for every message, in order. Its content is
 *     whatever a writer wrote: show it as text. If it throws, the subscription ends.
 * @param {(end: {reason: string, lastEventId: string, status?: number, detail?: string, error?: Error}) => void} [options.onEnd]
 *     is called once, with the reason: that of the server's last event (revoked, expired, closed, lagged, failed),
 *     "refused" with status and detail, "failed" with an error of this side, or "stopped" by the caller. After it nothing is
 *     called any more. With lastEventId another subscription goes on where this one ended, with a new token for instance.
 * @param {(missed: {missed: number, at_most: boolean}) => void} [options.onMissed] is called when messages behind
 *     lastEventId are no longer there.
 * @param {(state: "live" | "waiting") => void} [options.onState] is called when a connection stands, and when it broke.
 * @param {string} [options.lastEventId] is the message to begin behind; without it, the newest.
 * @param {number} [options.firstPause] milliseconds before a broken connection is tried again; doubled up to longestPause
 * @param {number} [options.longestPause]
 * @param {number} [options.silence] milliseconds without a sign of life after which a connection counts as broken; must be
 *     more than the server's heartbeat, which is 15 s unless it was set
 * @returns {() => void} stops it
 */
export function subscribe(url, options) {
  const life = new AbortController();
  follow(url, options, life.signal).then((end) => options.onEnd?.(end));
  return () => life.abort();
}

async function follow(url, options, life) {
  const { token, onMessage, onMissed, onState, firstPause = 500, longestPause = 30_000, silence = 45_000 } = options;
  let lastEventId = options.lastEventId ?? "";
  let end = null;

  function onEvent(event) {
    if (end || life.aborted) return; // what came in the same piece
    if (event.name === "") {
      onMessage(JSON.parse(event.data), event.id);
    } else if (event.name === "missed") {
      onMissed?.(JSON.parse(event.data));
    } else {
      end = { reason: event.name };
    }
    lastEventId = event.id;
  }

  function tell(state) {
    try {
      onState?.(state);
    } catch (error) {
      end ??= { reason: "failed", error };
    }
  }

  for (let pause = firstPause; ; pause = Math.min(2 * pause, longestPause)) {
    const quiet = new AbortController();
    let timer = setTimeout(() => quiet.abort(), silence);
    let least = 0;
    try {
      const headers = { Accept: "text/event-stream", Authorization: "Bearer " + token };
      if (lastEventId) headers["Last-Event-ID"] = lastEventId;
      const response = await fetch(url, {
        headers, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
        signal: AbortSignal.any([life, quiet.signal]),
      });
      if (response.status === 429 || response.status >= 500) {
        least = 1000 * (Number(response.headers.get("Retry-After")) || 0);
        await response.body?.cancel();
      } else if (!response.ok) {
        end = { reason: "refused", status: response.status, detail: await detail(response) };
      } else if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        end = { reason: "failed", error: new TypeError("the answer is no event stream") };
        await response.body?.cancel();
      } else {
        tell("live");
        const parser = new EventParser(onEvent, lastEventId);
        const reader = response.body.getReader();
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          clearTimeout(timer);
          timer = setTimeout(() => quiet.abort(), silence);
          pause = firstPause;
          try {
            parser.push(value);
          } catch (error) {
            end = { reason: "failed", error };
          }
          if (end || life.aborted) {
            await reader.cancel();
            break;
          }
          lastEventId = parser.lastEventId; // also where an event consisted of nothing else
        }
      }
    } catch {
      // The connection could not be made, or broke, or was given up.
    } finally {
      clearTimeout(timer);
    }
    if (!end && life.aborted) end = { reason: "stopped" };
    if (!end) tell("waiting");
    if (end) return { ...end, lastEventId };
    await after(Math.max(least, pause * (0.5 + Math.random() / 2)), life); // not all the clients of a server at once
    if (life.aborted) return { reason: "stopped", lastEventId };
  }
}

async function detail(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return response.statusText;
  }
}

/** Returns a promise that is kept after a time, or at once when the signal comes. */
function after(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** Takes an event stream apart (HTML, section 9.2.6), in whatever pieces it comes. */
export class EventParser {
  /** Of the last event that is complete: what is resumed behind. */
  lastEventId;

  #onEvent;
  #limit;
  #decoder = new TextDecoder(); // keeps the bytes of a character whose rest is still to come, and drops a byte order mark
  #line = ""; // that has not ended
  #returned = false; // the last line ended in a carriage return; a line feed that follows belongs to it
  #name = "";
  #data = [];
  #size = 0; // of the data
  #id;

  /**
   * @param {(event: {name: string, data: string, id: string}) => void} onEvent is called for every event that has data. A
   *     name of "message" is none.
   * @param {string} [lastEventId] is that of the stream which this one continues
   * @param {number} [limit] of an event, in characters; more is a RangeError
   */
  constructor(onEvent, lastEventId = "", limit = 16 << 20) {
    this.#onEvent = onEvent;
    this.#limit = limit;
    this.lastEventId = this.#id = lastEventId;
  }

  /** @param {Uint8Array} bytes the next piece of the stream */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return;
    if (this.#returned && text[0] === "\n") text = text.slice(1);
    this.#returned = text === "" ? false : text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop();
    for (const line of lines) this.#take(line);
    if (this.#line.length + this.#size > this.#limit) throw new RangeError("an event is too large");
  }

  #take(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    switch (field) {
      case "event":
        this.#name = value;
        break;
      case "data":
        this.#data.push(value);
        this.#size += value.length + 1;
        if (this.#size > this.#limit) throw new RangeError("an event is too large");
        break;
      case "id":
        if (!value.includes("\0")) this.#id = value;
        break;
    } // the others, comments among them, mean nothing
  }

  #dispatch() {
    const event = { name: this.#name === "message" ? "" : this.#name, data: this.#data.join("\n"), id: this.#id };
    const some = this.#data.length > 0;
    this.#name = "";
    this.#data = [];
    this.#size = 0;
    this.lastEventId = this.#id;
    if (some) this.#onEvent(event);
  }
}
