// Requests to the server. An answer that is no success throws an Error with the server's sentence.

async function ask(method, path, body, raw = false) {
  const options = { method };
  if (body !== undefined) options.body = raw ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the studio does not answer; is its command still running?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(said.error ?? `the studio answered ${answer.status}`), { status: answer.status });
  }
  return answer;
}

const json = async (...args) => (await ask(...args)).json();

export const api = {
  state: () => json("GET", "/api/state"),
  boards: () => json("GET", "/api/boards"),
  board: (id) => json("GET", `/api/boards/${id}`),
  add: (content) => json("POST", "/api/boards", content),
  change: (id, board, revision) => json("PUT", `/api/boards/${id}`, { board, revision }),
  remove: (id) => json("DELETE", `/api/boards/${id}`),
  open: (content) => json("POST", "/api/open", content),
  openZip: (file) => json("POST", "/api/open/zip", file, true),
  check: (board, id) => json("POST", "/api/check", { board, id }),
  picture: (file) => json("POST", "/api/pictures", file, true),
  render: (content) => json("POST", "/api/renders", content),
  removeRender: (id) => json("DELETE", `/api/renders/${id}`),
  annotate: (file) => json("POST", `/api/videos?name=${encodeURIComponent(file.name)}`, file, true),
  removeVideo: (id) => json("DELETE", `/api/videos/${id}`),
  async export(board, format) {
    const answer = await ask("POST", `/api/export/${format}`, { board });
    const name = /filename="(.*)"/.exec(answer.headers.get("Content-Disposition"))[1];
    return { name, content: await answer.blob(), remarks: answer.headers.get("X-Remarks") };
  },
};

export const pictureUrl = (name) => `/api/pictures/${name}`;

export function download(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// One window listens while it can be seen: a browser keeps few connections to one server.
export function listen(handlers) {
  let source = null;
  const begin = () => {
    if (source || document.hidden) return;
    source = new EventSource("/api/events");
    for (const [kind, handle] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
    }
  };
  const end = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  addEventListener("pagehide", end);
  begin();
}
