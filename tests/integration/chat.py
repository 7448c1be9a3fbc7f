"""A server of chat completions on the loopback interface: streamed answers, and faults on demand."""
import http.server
import json
import socket
import threading
import time


class Chat:
    """Answers each question with `answer`, a text or a function of the request's body. `faults` is a list of words, one used up by
    each request: "status:503" or "status:429:retry-after:1" refuse, "cut" ends the connection in the middle, "stall" sends nothing
    more, "garbage" is a page of HTML, "noise" bytes at random, "flood" a
    refusal that never ends, "error" an error within the stream, "huge" never ends, "whole" one
    object and no stream, "filter" withholds. Whatever comes is kept in `requests`."""

    def __init__(self, answer="Fine.", tls=None):
        self.answer, self.faults, self.requests, self.keys, self.pause = answer, [], [], [], 0
        self.most_at_once, self.at_once, self.lock = 0, 0, threading.Lock()
        chat = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                with chat.lock:
                    chat.at_once += 1
                    chat.most_at_once = max(chat.most_at_once, chat.at_once)
                try:
                    chat.serve(self)
                except OSError:
                    pass
                finally:
                    with chat.lock:
                        chat.at_once -= 1

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):  # clients that go away
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        if tls:  # an ssl.SSLContext
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.url = f"https://localhost:{self.port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def serve(self, h):
        body = json.loads(h.rfile.read(int(h.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body)
            self.keys.append(h.headers.get("Authorization"))
            fault = self.faults.pop(0) if self.faults else ""
        if h.path != "/v1/chat/completions":
            return self.refuse(h, 404, {"error": {"message": f"no such path {h.path}"}})
        if fault.startswith("status:"):
            words = fault.split(":")
            message = {"error": {"message": f"not now, {h.headers.get('Authorization')}"}}
            return self.refuse(h, int(words[1]), message, {"Retry-After": words[3]} if len(words) > 3 else {})
        if fault == "flood":
            h.send_response(503)
            h.end_headers()
            while True:
                h.wfile.write(b"busy " * 9999)
        text = self.answer(body) if callable(self.answer) else self.answer
        if fault == "garbage":
            return self.send(h, b"<html><body>It works: yes!</body></html>")
        if fault == "noise":
            return self.send(h, bytes(range(128, 256)) * 9)
        if fault == "whole":
            return self.send(h, json.dumps({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}],
                                            "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode())
        self.stream(h, text, fault)

    def send(self, h, body, status=200, headers=None):
        h.send_response(status)
        for key, value in (headers or {}).items():
            h.send_header(key, value)
        h.send_header("Content-Length", str(len(body)))
        h.end_headers()
        h.wfile.write(body)

    def refuse(self, h, status, message, headers=None):
        self.send(h, json.dumps(message).encode(), status, headers)

    def stream(self, h, text, fault):
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream")
        h.send_header("Connection", "close")
        h.end_headers()
        h.close_connection = True
        pieces = [text[i:i + 5] for i in range(0, len(text), 5)]
        h.wfile.write(b": keep\r\n\r\n")
        for i, piece in enumerate(pieces):
            if fault == "cut" and i == len(pieces) // 2:
                h.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault == "stall" and i == 1:
                h.wfile.flush()
                time.sleep(30)
            if fault == "error" and i == 1:
                return h.wfile.write(b'data: {"error": {"message": "the model fell over"}}\n\n')
            self.event(h, {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            h.wfile.flush()
            time.sleep(self.pause)
        while fault == "huge":
            self.event(h, {"choices": [{"index": 0, "delta": {"content": "x" * 60000}}]})
        end = "content_filter" if fault == "filter" else "stop"
        self.event(h, {"choices": [{"index": 0, "delta": {}, "finish_reason": end}]})
        self.event(h, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(pieces)}})
        h.wfile.write(b"data: [DONE]\n\n")

    def event(self, h, data):
        h.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
