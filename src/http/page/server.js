// The server, as the page speaks with it: requests with the token, uploads with progress, events that resume.

const TOKEN = "millrace-token";
let askForToken = () => {};

export function onRefused(ask) {
  askForToken = ask;
}

export function token() {
  return sessionStorage.getItem(TOKEN);
}

export function setToken(value) {
  if (value) sessionStorage.setItem(TOKEN, value);
  else sessionStorage.removeItem(TOKEN);
}

function headers(more = {}) {
  return token() ? { ...more, Authorization: `Bearer ${token()}` } : more;
}

/// A problem document, or what comes nearest to one.
export class Problem extends Error {
  constructor(document) {
    super(document.detail || "The server could not be reached.");
    this.document = document;
  }
}

async function problem(response) {
  if (response.status === 401) askForToken();
  try {
    return new Problem(await response.json());
  } catch {
    return new Problem({ detail: `The server answered ${response.status}.` });
  }
}

/// Sends JSON (or nothing) and returns the answer's JSON.
export async function ask(method, path, body) {
  const sent = body === undefined ? { method, headers: headers() } : { method, headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, sent);
  } catch {
    throw new Problem({});
  }
  if (!response.ok) throw await problem(response);
  return response.status === 204 ? null : response.json();
}

/// Uploads a file; `told` hears the share sent, 0 to 1. Returns a promise and the way to break it off.
export function upload(file, told) {
  const request = new XMLHttpRequest();
  const done = new Promise((keep, refuse) => {
    request.upload.addEventListener("progress", (event) => event.lengthComputable && told(event.loaded / event.total));
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // Not JSON: the status says enough.
      }
      if (request.status === 201) return keep(answer);
      if (request.status === 401) askForToken();
      refuse(new Problem(answer.detail ? answer : { detail: `The server answered ${request.status}.` }));
    });
    request.addEventListener("error", () => refuse(new Problem({ detail: "The upload broke off." })));
    request.addEventListener("abort", () => refuse(new Problem({ detail: "The upload was stopped." })));
  });
  request.open("POST", `/v1/uploads?name=${encodeURIComponent(file.name)}`);
  for (const [name, value] of Object.entries(headers({ "Content-Type": "application/octet-stream" }))) request.setRequestHeader(name, value);
  request.send(file);
  return { done, stop: () => request.abort() };
}

/// Downloads an output where a token is asked for: a browser's own download carries no header, so a signed link is made.
export async function download(job, output) {
  const made = await ask("POST", `/v1/jobs/${job}/links`, { output });
  const link = document.createElement("a");
  link.href = made.url;
  link.download = "";
  link.click();
}

/// An address of an output that a picture or a player can be given: where a token is asked for, a signed one.
export async function linkTo(job, output) {
  return token() ? (await ask("POST", `/v1/jobs/${job}/links`, { output: output.name })).url : output.url;
}

/// Listens to the server's events for as long as the page is seen. `EventSource` sends no headers, hence a stream.
export function listen({ event, up, down }) {
  let last = null;
  let wait = 500;
  let stop = new AbortController();
  let timer = 0;

  async function run() {
    stop = new AbortController();
    const own = stop;
    try {
      const response = await fetch("/v1/events", { headers: headers(last === null ? {} : { "Last-Event-ID": last }), signal: own.signal, cache: "no-store" });
      if (!response.ok) throw await problem(response);
      wait = 500;
      up();
      await read(response.body.getReader());
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Problem && error.document.status === 401) return;
    }
    if (own.signal.aborted) return;
    down(wait);
    timer = setTimeout(run, wait);
    wait = Math.min(wait * 2, 15000);
  }

  async function read(reader) {
    const text = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += text.decode(value, { stream: true });
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      blocks.forEach(block);
    }
  }

  function block(lines) {
    let kind = "message";
    let data = "";
    for (const line of lines.split("\n")) {
      const at = line.indexOf(":");
      const field = line.slice(0, at);
      const value = line.slice(at + 1).replace(/^ /, "");
      if (field === "id") last = value;
      else if (field === "event") kind = value;
      else if (field === "data") data += value;
    }
    if (data) event(kind, JSON.parse(data));
  }

  document.addEventListener("visibilitychange", () => {
    stop.abort();
    clearTimeout(timer);
    if (!document.hidden) run();
  });
  run();
  return () => {
    stop.abort();
    clearTimeout(timer);
    wait = 500;
    run();
  };
}
