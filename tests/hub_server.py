"""A Hugging Face Hub on this machine, for the real client: reading, writing, large files on another origin, faults."""

import base64
import hashlib
import json
import os
import re
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from semantic_aug.cli import main as cli
from semantic_aug.model import hub

LARGE = (".safetensors", ".png")  # what git LFS holds
TOKEN = "hf_that_may_write"


@dataclass
class Repo:
    """Branches and tags => commit; commit => files."""

    private: bool = False
    gated: bool = False
    refs: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)

    def commit(self, files: dict) -> str:
        """Put a commit with these files, and those that were there, at the tip of main."""
        files = self.commits.get(self.refs.get("main"), {}) | files
        sha = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[sha], self.refs["main"] = files, sha
        return sha

    def find(self, revision: str) -> str | None:
        sha = self.refs.get(revision) or self.tags.get(revision) or revision
        return sha if sha in self.commits else None


class Hub:
    """Two origins: the Hub proper, and the one that large files come from and go to.

    ``fault(pattern, action, times)``: requests "METHOD path" that match are answered with a status (int), never
    ("hang"), by closing the connection ("drop"), with so many bytes of the body and then a closed connection
    ("cut 1000"), a byte of the body at a time ("slow"), with a web page ("page") or the text ``"text"``, or as usual,
    after calling the action. ``requests``: what was asked, as
    (origin, "METHOD path", headers).
    """

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict]] = []
        self.faults: list[list] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), handler(self, name)) for name in ("hub", "cdn")}
        for server in self.servers.values():
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.servers['hub'].server_port}"
        self.cdn = f"http://localhost:{self.servers['cdn'].server_port}"

    def close(self):
        self.released.set()
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    def repo(self, name: str, directory=None, **settings) -> Repo:
        """A new repository, with the files of a directory."""
        repo = self.repos[name] = Repo(**settings)
        if directory is not None:
            self.commit(name, directory)
        return repo

    def commit(self, name: str, directory) -> str:
        return self.repos[name].commit({path.name: path.read_bytes() for path in directory.iterdir()})

    def fault(self, pattern: str, action, times: int = 10**6):
        self.faults.append([re.compile(pattern), action, times])

    def fault_for(self, line: str):
        with self.lock:
            for entry in self.faults:
                if entry[2] and entry[0].search(line):
                    entry[2] -= 1
                    return entry[1]
        return None

    def asked(self, pattern: str = "") -> list[str]:
        return [line for _, line, _ in self.requests if re.search(pattern, line)]

    def environment(self, home) -> dict[str, str]:
        """For a process of its own."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return others | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def connect(self, monkeypatch, home):
        """The same for the client in this process, which has read the environment when it was imported."""
        from huggingface_hub import constants

        settings = {
            "ENDPOINT": self.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_URL_HOSTS": frozenset({"127.0.0.1"}),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value, raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)


def run_client(environment: dict[str, str], limits: dict[str, float], *words: str) -> int:
    """Run a command in a process that has not imported the client yet, with other limits of the module ``hub``."""
    os.environ.clear()
    os.environ.update(environment)
    for name, seconds in limits.items():
        setattr(hub, name, seconds)
    sys.argv = ["semantic-aug", *words]
    return cli.main()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def handler(hub: Hub, origin: str):
    """The request handler of one of the two origins."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self):
            path = unquote(urlsplit(self.path).path)
            line = f"{self.command} {path}"
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if hub.released.is_set():
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.requests.append((origin, line, headers))
            self.action = hub.fault_for(line)
            if callable(self.action):
                self.action()
            if self.action == "hang":
                hub.released.wait(60)
            if self.action in ("hang", "drop"):
                self.close_connection = True
            elif self.action == "text":
                self.send(b'"text"', Content_Type="application/json")
            elif self.action == "page":
                self.send(b"<html>Welcome to the hotel</html>")
            elif isinstance(self.action, int):
                self.json({"error": "made to fail"}, self.action)
            else:
                (self.hub_routes if origin == "hub" else self.cdn_routes)(path)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        # --- Answers ---

        def send(self, body: bytes, status: int = 200, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if isinstance(self.action, str) and self.action.startswith("cut"):
                body, self.close_connection = body[: int(self.action.split()[1])], True
            with suppress(ConnectionError):  # the client may have been killed
                while self.action == "slow" and body and not hub.released.wait(0.2):
                    self.wfile.write(body[:1])
                    body = body[1:]
                self.wfile.write(body)

        def json(self, value, status: int = 200, **headers):
            self.send(json.dumps(value).encode(), status, Content_Type="application/json", **headers)

        def refuse(self, code: str, status: int = 404):
            self.json({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

        def bytes_of(self, content: bytes, **headers):
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if wanted is None:
                return self.send(content, **headers)
            start = int(wanted[1])
            return self.send(
                content[start:], 206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", **headers
            )

        # --- Who may do what ---

        def token(self) -> str | None:
            return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

        def hub_routes(self, path: str):
            if self.token() not in (None, TOKEN):
                message = "Invalid credentials in Authorization header"
                return self.json({"error": message}, 401, X_Error_Message=message)
            if path == "/api/repos/create":
                return self.create()
            if path.startswith("/verify/"):
                return self.json({})
            if path == "/api/validate-yaml":
                return self.json({"errors": [], "warnings": []})
            found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?(/.*)?", path)
            name, rest = found[1], found[2] or ""
            if name in hub.renamed:
                return self.send(b"", 307, Location=path.replace(name, hub.renamed[name]))
            repo = hub.repos.get(name)
            if repo is None or (repo.private and self.token() is None):
                return self.refuse("RepoNotFound", 404 if self.token() else 401)
            if self.command == "POST" and self.token() is None:
                return self.json({"error": "log in first"}, 401)
            return self.repo_routes(repo, name, rest)

        def repo_routes(self, repo: Repo, name: str, rest: str):
            if rest == "/refs":
                refs = {"branches": repo.refs, "tags": repo.tags, "converts": {}}
                return self.json(
                    {
                        kind: [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": sha} for n, sha in them.items()]
                        for kind, them in refs.items()
                    }
                )
            if rest == "/info/lfs/objects/batch":
                return self.lfs_batch()
            verb, _, where = rest.removeprefix("/").partition("/")
            if verb in ("commit", "preupload", "tag"):
                return getattr(self, verb)(repo, name, where)
            revision, _, file = where.partition("/") if verb == "resolve" else (where or "main", "", "")
            sha = repo.find(revision)
            if sha is None and repo.commits:
                return self.refuse("RevisionNotFound")
            files = repo.commits.get(sha, {})
            if verb == "resolve":
                return self.resolve(repo, sha, file, files)
            if verb == "tree":
                return self.json([self.entry(path, content) for path, content in files.items()])
            siblings = [{"rfilename": path} for path in files]
            return self.json({"id": name, "sha": sha, "private": repo.private, "siblings": siblings})

        # --- Reading ---

        def entry(self, path: str, content: bytes) -> dict:
            large = {"lfs": {"oid": sha256(content), "size": len(content), "pointerSize": 130}}
            more = large if path.endswith(LARGE) else {}
            return {"type": "file", "path": path, "size": len(content), "oid": git_oid(content), **more}

        def resolve(self, repo: Repo, sha: str, file: str, files: dict):
            if repo.gated:
                return self.refuse("GatedRepo", 403)
            if file not in files:
                return self.json({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
            content = files[file]
            if not file.endswith(LARGE):
                return self.bytes_of(content, ETag=f'"{git_oid(content)}"', X_Repo_Commit=sha)
            oid = sha256(content)
            hub.large.setdefault(oid, content)
            return self.send(
                b"",
                302,
                Location=f"{hub.cdn}/{oid}",
                X_Linked_Etag=f'"{oid}"',
                X_Linked_Size=len(content),
                X_Repo_Commit=sha,
                ETag='"of the pointer"',
            )

        def cdn_routes(self, path: str):
            oid = path.strip("/")
            if self.command == "PUT":
                assert sha256(self.body) == oid
                hub.large[oid] = self.body
                return self.send(b"")
            return self.bytes_of(hub.large[oid], ETag=f'"{oid}"')

        # --- Writing ---

        def create(self):
            wanted = json.loads(self.body)
            if self.token() is None:
                return self.json({"error": "log in first"}, 401)
            name = f"{wanted['organization']}/{wanted['name']}"
            if name in hub.repos:
                return self.json({"error": "You already created this model repo"}, 409)
            private = wanted.get("visibility") == "private" or wanted.get("private") is True
            hub.repo(name, private=private).commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            return self.json({"url": f"{hub.url}/{name}"})

        def preupload(self, repo: Repo, _: str, branch: str):
            files = repo.commits[repo.refs[branch]]

            def about(path: str) -> dict:
                large, content = path.endswith(LARGE), files.get(path)
                oid = {} if content is None else {"oid": (sha256 if large else git_oid)(content)}
                return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **oid}

            return self.json({"files": [about(file["path"]) for file in json.loads(self.body)["files"]]})

        def lfs_batch(self):
            def about(wanted: dict) -> dict:
                if wanted["oid"] in hub.large:
                    return wanted
                oid = wanted["oid"]
                places = {"upload": f"{hub.cdn}/{oid}", "verify": f"{hub.url}/verify/{oid}"}
                return wanted | {"actions": {name: {"href": href} for name, href in places.items()}}

            objects = [about(wanted) for wanted in json.loads(self.body)["objects"]]
            return self.json({"transfer": "basic", "objects": objects})

        def commit(self, repo: Repo, name: str, _: str):
            lines = [json.loads(line) for line in self.body.splitlines()]
            files = {}
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
            sha = repo.commit(files)
            url = f"{hub.url}/{name}/commit/{sha}"
            self.json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

        def tag(self, repo: Repo, _: str, revision: str):
            repo.tags[json.loads(self.body)["tag"]] = repo.find(revision)
            self.json({})

    return Handler
