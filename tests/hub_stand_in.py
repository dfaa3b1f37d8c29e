"""A small server with the interface of the Hugging Face hub, as far as `huggingface_hub` uses it for our four files."""

import base64
import contextlib
import hashlib
import http.server
import json
import threading


class StandIn(http.server.BaseHTTPRequestHandler):
    """Repositories in memory: name → {file: content}; a commit is the checksum of them."""

    def handle_any(self):
        """Answer a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].strip("/").split("/")
        self.server.requests.append(f"{self.command} {self.path}")
        match path:
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                self.server.repositories.setdefault(name, {})
                self.answer({"url": f"{self.server.address}/{name}", "id": "1", "name": name})
            case ["api", "validate-yaml"]:  # of the first lines of a card
                self.answer({"errors": [], "warnings": []})
            case ["api", "models", *name, "preupload", _] if self.known(name) is not None:
                files = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            case ["api", "models", *name, "commit", _] if self.known(name) is not None:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        self.known(name)[line["value"]["path"]] = content
                commit = self.commit(name)
                url = f"{self.server.address}/{'/'.join(name)}/commit/{commit}"
                self.answer({"success": True, "commitUrl": url, "commitOid": commit, "hookOutput": ""})
            case ["api", "models", *name, "revision", _] if self.known(name) is not None:
                siblings = [{"rfilename": file} for file in self.known(name)]
                self.answer({"id": "/".join(name), "sha": self.commit(name), "siblings": siblings, "private": False})
            case ["api", "models", *name, "tree", _] if self.known(name) is not None:
                self.answer(
                    [
                        {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for file, content in self.known(name).items()
                    ]
                )
            case [*name, "resolve", _, file] if file in (self.known(name) or ()):
                content = self.known(name)[file]
                self.answer(content, etag=hashlib.sha1(content).hexdigest(), commit=self.commit(name))
            case _:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

    do_GET = do_HEAD = do_POST = handle_any  # noqa: N815

    def known(self, name):
        """The files of a repository, or None."""
        return self.server.repositories.get("/".join(name))

    def commit(self, name):
        """The commit of a repository: 40 hexadecimal digits."""
        files = sorted((file, hashlib.sha1(content).hexdigest()) for file, content in self.known(name).items())
        return hashlib.sha1(repr(files).encode()).hexdigest()

    def answer(self, content, etag="none", commit=""):
        """Send bytes, or JSON."""
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        """Print nothing."""


@contextlib.contextmanager
def stand_in():
    """A running server, with `address`, `repositories` and `requests`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        server.repositories, server.requests = {}, []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
