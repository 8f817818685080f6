"""Endpoints of notifications for the registry that .ci/draw-dashboard shows: one that takes all events,
one that is down for a while, and one that refuses some."""
import contextlib, http.server, json, threading, time

# From when to when one of them is down, in parts of the time of the traffic.
DOWN = (0.3, 0.55)
# How often one of them refuses an event, in requests.
REFUSES = 9


class Endpoint(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status):
        self.status, self.requests = status, 0
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/events"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests += 1
        self.send_response(self.server.status(self.server.requests))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def endpoints(seconds):
    """The settings of a registry that is used for so many seconds."""
    began = time.monotonic()

    def is_down():
        return DOWN[0] <= (time.monotonic() - began) / seconds <= DOWN[1]

    servers = {
        "ci": Endpoint(lambda _: 200),
        "audit": Endpoint(lambda _: 503 if is_down() else 202),
        "scanner": Endpoint(lambda number: 422 if number % REFUSES == 0 else 200),
    }
    settings = {}
    for number, (name, server) in enumerate(servers.items()):
        prefix = f"REGISTRY_NOTIFICATIONS_ENDPOINTS_{number}_"
        settings |= {f"{prefix}NAME": name, f"{prefix}URL": server.url()}
    # Two want no pulls, as most do.
    for number in (1, 2):
        settings[f"REGISTRY_NOTIFICATIONS_ENDPOINTS_{number}_IGNORE_ACTIONS"] = "pull"
    try:
        yield settings
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()
