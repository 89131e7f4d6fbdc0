import { subscribe } from "./chansec.js";

const shown = 200; // messages at a time
const byId = (id) => document.getElementById(id);

let token = ""; // in this variable only: not in the URL, a cookie or storage
let stop = () => {};

const ends = {
  revoked: "Ended: the right to this channel was revoked.",
  expired: "Ended: the token expired.",
  closed: "Ended: the channel was closed.",
  lagged: "Ended: this page was too slow.",
  stopped: "Stopped.",
};

function say(kind, text) {
  byId("state").className = kind;
  byId("state").textContent = text;
}

function begin(credential) {
  stop();
  token = credential;
  say("waiting", "Subscribing.");
  let current = true; // until another subscription begins
  const cancel = subscribe("/channels/news/events", {
    token,
    onMessage: show,
    onMissed: ({ missed }) => note(`${missed} messages are no longer there`),
    onState: (state) => current && say(state, state === "live" ? "Live." : "The connection broke; it will be resumed."),
    onEnd: ({ reason, status, detail, error }) =>
      current && say("ended", ends[reason] ?? `Ended: ${[reason, status, detail ?? error?.message].filter(Boolean).join(", ")}.`),
  });
  stop = () => {
    current = false;
    cancel();
  };
}

/** Everything of a message was chosen by whoever wrote it: textContent makes none of it part of the page. */
function show(message) {
  const time = document.createElement("time");
  time.textContent = new Date(1000 * message.timestamp).toLocaleTimeString();
  const sender = document.createElement("b");
  sender.textContent = message.sender_id;
  const text = document.createElement("span");
  text.textContent = message.content.text;
  append(time, sender, text);
}

function note(text) {
  const line = document.createElement("em");
  line.textContent = text;
  append(line);
}

function append(...parts) {
  const item = document.createElement("li");
  item.append(...parts);
  const list = byId("messages");
  list.append(item);
  if (list.children.length > shown) list.firstElementChild.remove();
  item.scrollIntoView({ block: "nearest" });
}

/** Sends a request to this page's server, with the token if there is one. It returns the answer, or null and says why. */
async function send(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = "Bearer " + token;
  try {
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
    if (response.ok) return response;
    note(`${method} ${path} was answered with ${response.status}`);
  } catch {
    note(`${method} ${path} was not answered`);
  }
  return null;
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("token").value.trim();
  byId("token").value = "";
  if (typed) begin(typed);
});

byId("visit").addEventListener("click", async () => {
  const response = await send("POST", "/visitors");
  if (response) begin((await response.json()).token);
});

byId("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await send("PUT", "/channels/news", { text: byId("text").value })) byId("text").value = "";
});

byId("revoke").addEventListener("click", () => send("POST", "/revoke"));
