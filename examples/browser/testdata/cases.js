// The cases of chansec.js. Each is a sentence, and a function that throws if it is not true.
import { EventParser, subscribe } from "/chansec.js";

const utf8 = new TextEncoder();

function equal(got, want, about = "") {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    throw new Error(`${about} got ${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
  }
}

/** Parses pieces; the events are [name, data, id]. */
function parse(pieces) {
  const events = [];
  const parser = new EventParser(({ name, data, id }) => events.push([name, data, id]));
  for (const piece of pieces) parser.push(piece);
  return { events, last: parser.lastEventId };
}

/** A stream, the events that are in it, and the place behind it; whole, bytewise, and cut at each place into two. */
function stream(text, events, last = "") {
  return () => {
    const bytes = typeof text === "string" ? utf8.encode(text) : text;
    const want = { events, last };
    equal(parse([bytes]), want, "whole:");
    equal(parse(Array.from(bytes, (_, i) => bytes.slice(i, i + 1))), want, "bytewise:");
    for (let i = 0; i <= bytes.length; i++) equal(parse([bytes.slice(0, i), bytes.slice(i)]), want, `cut at ${i}:`);
  };
}

const parsing = {
  "an event has an id, a name and data": stream("id: 7\nevent: revoked\ndata: {}\n\n", [["revoked", "{}", "7"]], "7"),
  "lines may end in carriage return and line feed": stream("id: 7\r\nevent: x\r\ndata: a\r\n\r\n", [["x", "a", "7"]], "7"),
  "lines may end in a carriage return": stream("id: 7\revent: x\rdata: a\r\r", [["x", "a", "7"]], "7"),
  "line ends may be mixed": stream("data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n", [["", "a\nb\nc", ""], ["", "d", ""]]),
  "a name of message is none": stream("event: message\ndata: a\n\n", [["", "a", ""]]),
  "a name is for one event": stream("event: x\ndata: a\n\ndata: b\n\n", [["x", "a", ""], ["", "b", ""]]),
  "a name without data is no event, and not that of the next": stream("event: x\n\ndata: a\n\n", [["", "a", ""]]),
  "an id without data is no event, but a place": stream("id: 7\n\n", [], "7"),
  "an id is that of later events without one": stream("id: 7\ndata: a\n\ndata: b\n\n", [["", "a", "7"], ["", "b", "7"]], "7"),
  "an empty id is no place": stream("id: 7\n\nid\n\n", [], ""),
  "an id with a NUL counts as none": stream("id: 7\n\nid: 8\0\ndata: a\n\n", [["", "a", "7"]], "7"),
  "what the stream's end cut off is neither event nor place": stream("id: 7\ndata: a\n\nid: 8\ndata: b\n", [["", "a", "7"]], "7"),
  "comments mean nothing": stream(":\n\n: data: x\n:data: y\ndata: a\n:\n\n", [["", "a", ""]]),
  "unknown fields mean nothing": stream("retry: 1\nDATA: x\n data: y\nnothing\ndata: a\n\n", [["", "a", ""]]),
  "one space behind the colon is dropped": stream("data:a\ndata: b\ndata:  c\n\n", [["", "a\nb\n c", ""]]),
  "only the first colon separates": stream('data: {"a": "b:c"}\n\n', [["", '{"a": "b:c"}', ""]]),
  "data may be empty": stream("data\n\ndata:\ndata: \n\n", [["", "", ""], ["", "\n", ""]]),
  "characters of several bytes may be cut": stream("id: \u00fc\ndata: \u20ac \ud83d\ude00 \u4e2d\n\n", [["", "\u20ac \ud83d\ude00 \u4e2d", "\u00fc"]], "\u00fc"),
  "a byte order mark may begin the stream": stream("\ufeffdata: a\n\n", [["", "a", ""]]),
  "a second one is text": stream("\ufeffdata: \ufeffa\n\n", [["", "\ufeffa", ""]]),
  "what is no UTF-8 becomes a replacement character": stream(
    Uint8Array.of(...utf8.encode("data: "), 0xff, 0x0a, 0x0a), [["", "\ufffd", ""]]),
  "other line separators are text": stream("data: a\u2028b\u0085c\fd\n\n", [["", "a\u2028b\u0085c\fd", ""]]),
  "a line that does not end is too large in the end": () => endless("x"),
  "an event that does not end is too large in the end": () => endless("data: x\n"),
};

function endless(piece) {
  const parser = new EventParser(() => {}, "", 1000);
  for (let i = 0; i < 2000; i++) {
    try {
      parser.push(utf8.encode(piece));
    } catch (error) {
      equal(error instanceof RangeError, true);
      return;
    }
  }
  throw new Error("it was kept");
}

/** Answers of a server, in turn; each is [status, headers, body]. A body that ends in HANG goes on without a word. */
class Server {
  requests = [];
  #answers;
  constructor(...answers) {
    this.#answers = answers;
    globalThis.fetch = async (url, init) => {
      this.requests.push({ url: String(url), headers: init.headers, init });
      const answer = this.#answers.shift();
      if (!answer) throw new TypeError("there is no further answer: that was one request too many");
      if (answer === DOWN) throw new TypeError("Failed to fetch");
      const [status, headers, body] = answer;
      const hangs = body.endsWith(HANG);
      return new Response(new ReadableStream({
        start(controller) {
          controller.enqueue(utf8.encode(hangs ? body.slice(0, -HANG.length) : body));
          if (!hangs) return controller.close();
          init.signal.addEventListener("abort", () => controller.error(init.signal.reason));
        },
      }), { status, headers });
    };
  }
}

const DOWN = Symbol("down");
const HANG = "HANG";
const events = (body) => [200, { "Content-Type": "text/event-stream" }, body];
const message = (n) => `id: ${n}\ndata: {"content":${n}}\n\n`;
const last = (reason) => `event: ${reason}\ndata: {"reason":"${reason}"}\n\n`;

/** Subscribes until the end. It returns what was called. */
function until(options = {}) {
  const calls = [];
  const began = performance.now();
  return new Promise((resolve) => {
    const finish = async (end) => {
      calls.push(["end", end]);
      await new Promise((done) => setTimeout(done, 20)); // 20 pauses: what would still come, comes
      resolve({ calls, end, ends: calls.filter(([what]) => what === "end").length, took: performance.now() - began });
    };
    const stop = subscribe("/channels/x/events", {
      token: "secret", firstPause: 1, longestPause: 2,
      onMessage: (m, id) => calls.push(["message", m.content, id]),
      onMissed: (m) => calls.push(["missed", m.missed]),
      onState: (s) => calls.push([s]),
      onEnd: finish,
      ...options(calls, () => stop()),
    });
  });
}

const plain = () => ({});
const kinds = (calls) => calls.map(([what, ...rest]) => (what === "message" ? rest[0] : what));

const subscribing = {
  "the token is in the header, and nowhere else": async () => {
    const server = new Server(events(last("closed")));
    await until(plain);
    const [{ url, headers, init }] = server.requests;
    equal(headers.Authorization, "Bearer secret");
    equal(url, "/channels/x/events");
    equal(init.credentials, "omit");
    equal(init.redirect, "error");
  },
  "without a place, the newest message is the server's to know": async () => {
    const server = new Server(events(last("closed")));
    await until(plain);
    equal("Last-Event-ID" in server.requests[0].headers, false);
  },
  "with one, the subscription begins there": async () => {
    const server = new Server(events(last("closed")));
    const { end } = await until(() => ({ lastEventId: "7" }));
    equal(server.requests[0].headers["Last-Event-ID"], "7");
    equal(end, { reason: "closed", lastEventId: "7" });
  },
  "a broken connection is resumed behind the last whole message": async () => {
    const server = new Server(events("id: 0\n\n" + message(1) + message(2) + "id: 3\ndata: {"), events(message(3) + last("closed")));
    const { calls } = await until(plain);
    equal(server.requests[1].headers["Last-Event-ID"], "2");
    equal(kinds(calls), ["live", 1, 2, "waiting", "live", 3, "end"]);
  },
  "one that breaks before the first message is resumed at the place that the server told": async () => {
    const server = new Server(events("id: 0\n\n"), events(last("closed")));
    await until(plain);
    equal(server.requests[1].headers["Last-Event-ID"], "0");
  },
  "a server that cannot be reached is tried again": async () => {
    const server = new Server(DOWN, DOWN, [503, {}, "{}"], [502, {}, ""], [429, {}, "{}"], events(last("closed")));
    const { calls } = await until(plain);
    equal(server.requests.length, 6);
    equal(kinds(calls), ["waiting", "waiting", "waiting", "waiting", "waiting", "live", "end"]);
  },
  "not before the time that it asked for": async () => {
    new Server([503, { "Retry-After": "1" }, "{}"], events(last("closed")));
    const { took } = await until(plain);
    equal(took >= 1000, true, `after ${took} ms:`);
  },
  "a connection without a sign of life counts as broken": async () => {
    const server = new Server(events(message(1) + HANG), events(last("closed")));
    await until(() => ({ silence: 30 }));
    equal(server.requests[1].headers["Last-Event-ID"], "1");
  },
  "what was missed is told, and the stream goes on": async () => {
    new Server(events('event: missed\ndata: {"missed":5,"at_most":false}\n\n' + message(6) + last("closed")));
    const { calls } = await until(plain);
    equal(calls.slice(0, 3), [["live"], ["missed", 5], ["message", 6, "6"]]);
  },
  "stopping ends it, also while it waits": async () => {
    for (const state of ["live", "waiting"]) {
      const server = new Server(state === "live" ? events(message(1) + HANG) : DOWN);
      const { end, ends } = await until((calls, stop) => ({
        firstPause: 60_000, longestPause: 60_000,
        onMessage: () => stop(),
        onState: (s) => s === "waiting" && setTimeout(stop),
      }));
      equal(end.reason, "stopped");
      equal([ends, server.requests.length], [1, 1], state);
    }
  },
  "nothing is called once it was stopped, though more had come already": async () => {
    new Server(events(message(1) + message(2) + last("closed")));
    const { calls, end } = await until((calls, stop) => ({ onMessage: (m) => (calls.push(["message", m.content]), stop()) }));
    equal(kinds(calls), ["live", 1, "end"]);
    equal(end, { reason: "stopped", lastEventId: "1" });
  },
  "a callback that throws ends it, before the message that was too much": async () => {
    const server = new Server(events(message(1) + message(2) + message(3)));
    const { end } = await until(() => ({ onMessage: (m) => { if (m.content === 2) throw new Error("no"); } }));
    equal([end.reason, end.error.message, end.lastEventId, server.requests.length], ["failed", "no", "1", 1]);
  },
  "a message that is no JSON ends it": async () => {
    const server = new Server(events("data: {\n\n"));
    const { end } = await until(plain);
    equal([end.reason, end.error instanceof SyntaxError, server.requests.length], ["failed", true, 1]);
  },
  "an answer that is no event stream ends it": async () => {
    const server = new Server([200, { "Content-Type": "text/html" }, "<p>"]);
    const { end } = await until(plain);
    equal([end.reason, server.requests.length], ["failed", 1]);
  },
};

for (const status of [400, 401, 403, 404]) {
  subscribing[`an answer of ${status} ends it, with the reason`] = async () => {
    const server = new Server([status, { "Content-Type": "application/problem+json" }, '{"detail":"because"}']);
    const { end, ends } = await until(plain);
    equal(end, { reason: "refused", status, detail: "because", lastEventId: "" });
    equal([ends, server.requests.length], [1, 1]);
  };
}

for (const reason of ["revoked", "expired", "closed", "lagged", "failed"]) {
  subscribing[`${reason} is the last event: nothing behind it is shown, and nothing is resumed`] = async () => {
    const server = new Server(events(message(1) + last(reason) + message(2)));
    const { calls, end, ends } = await until(plain);
    equal(end, { reason, lastEventId: "1" });
    equal(kinds(calls), ["live", 1, "end"]);
    equal([ends, server.requests.length], [1, 1]);
  };
}

/** Returns {name: why it is not true, or ""}. */
export async function results() {
  const found = {};
  const theirs = globalThis.fetch;
  for (const [name, check] of Object.entries({ ...parsing, ...subscribing })) {
    try {
      await check();
      found[name] = "";
    } catch (error) {
      found[name] = String(error.stack ?? error);
    } finally {
      globalThis.fetch = theirs;
    }
  }
  return found;
}
