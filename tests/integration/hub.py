"""A small Hugging Face on the loopback interface: listing, files, redirects of large files, ranges, and faults on demand."""
import hashlib
import http.server
import json
import os
import socket
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = ".safetensors"  # kept in "large file storage": listed with a SHA-256, redirected


class Hub:
    """Serves `files` (name -> bytes) as the repository `repo`. `faults` maps a file name to a list of words, one used up by
    each request for it: "cut:N" ends the connection after N bytes of the body, "status:503", "stall" sends nothing more
    after a few bytes, "corrupt" changes a byte, "whole" ignores the range. `claimed` are sizes that the listing lies about."""

    def __init__(self, repo, files):
        self.repo, self.files = repo, dict(files)
        self.commit, self.faults, self.requests, self.chunk_wait = COMMIT, {}, [], 0
        self.api_status, self.bare_listing, self.other_host, self.claimed = [], False, False, {}
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def listing(self):
        siblings = []
        for name, data in self.files.items():
            entry = {"rfilename": name, "size": self.claimed.get(name, len(data))}
            if self.bare_listing:
                entry = {"rfilename": name}
            elif name.endswith(LARGE):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            else:
                entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings.append(entry)
        return {"id": self.repo, "sha": self.commit, "siblings": siblings}

    def answer(self, request):
        path = urllib.parse.unquote(request.path.split("?")[0])
        self.requests.append((request.path, request.headers.get("Range"), request.headers.get("Authorization")))
        if path.startswith("/api/models/"):
            status = self.api_status.pop(0) if self.api_status else 200
            if not path.startswith(f"/api/models/{self.repo}/revision/") or path.endswith("/no-such-branch"):
                status = 404
            body = json.dumps(self.listing()).encode() if status == 200 else b"{}"
            return self.send(request, status, body)
        name = path.rsplit("/", 1)[-1]
        if name not in self.files or (not path.startswith("/cdn/") and f"/{self.repo}/resolve/{self.commit}/" not in path):
            return self.send(request, 404, b"")
        if name.endswith(LARGE) and not path.startswith("/cdn/"):
            host = "localhost" if self.other_host else "127.0.0.1"
            return self.send(request, 302, b"", {
                "Location": f"http://{host}:{self.port}/cdn/{name}", "X-Linked-Size": str(len(self.files[name])),
                "X-Linked-Etag": '"%s"' % hashlib.sha256(self.files[name]).hexdigest()})
        self.send_file(request, name)

    def send(self, request, status, body, headers=None):
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def send_file(self, request, name):
        data, faults = self.files[name], self.faults.get(name, [])
        fault = faults.pop(0) if faults else ""
        if fault.startswith("status:"):
            return self.send(request, int(fault[7:]), b"")
        asked = request.headers.get("Range")
        begin = int(asked.split("=")[1].split("-")[0]) if asked and fault != "whole" else 0
        body = bytearray(data[begin:])
        if fault == "corrupt":
            body[len(body) // 2] ^= 1
        request.send_response(206 if asked and fault != "whole" else 200)
        if asked and fault != "whole":
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        limit = int(fault[4:]) if fault.startswith("cut:") else 100 if fault == "stall" else len(body)
        try:
            for at in range(0, limit, 65536):
                request.wfile.write(body[at:min(at + 65536, limit)])
                request.wfile.flush()
                time.sleep(self.chunk_wait)
            if fault == "stall":
                time.sleep(30)
            if limit < len(body):
                request.connection.shutdown(socket.SHUT_RDWR)
                request.close_connection = True
        except OSError:
            pass

    def ranges(self, name):
        """The Range headers of the requests for the bytes of a large file."""
        return [r for path, r, _ in self.requests if path == f"/cdn/{name}"]


def model_files(folder):
    """The files of a model folder of ours, as a repository would hold them."""
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            files[name] = f.read()
    return files
