"""What uses the registry that .ci/draw-dashboard shows: a client, and threads with clients."""
import base64, functools, hashlib, http.client, json, math, os, random, threading, time, urllib.parse

USER, PASSWORD = "alice", "correct horse"
# Seconds that a request may take to be answered.
LIMIT = 60
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
BYTES = "application/octet-stream"


class Client:
    """A client with one connection, and an address of its own."""

    def __init__(self, address, number, password=PASSWORD, user=USER):
        self.address, self.connection = address, None
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {secret}", "X-Forwarded-For": f"198.51.100.{number}"}

    def ask(self, method, path, body=None, **headers):
        """The status and the headers of a response, of which the body is read."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        for attempt in (1, 2):
            fresh = self.connection is None
            try:
                self.connection = self.connection or http.client.HTTPConnection(self.address, timeout=LIMIT)
                self.connection.request(method, path, body, self.headers | headers)
                response = self.connection.getresponse()
                self.body = response.read()
                return response.status, response.headers
            except (OSError, http.client.HTTPException):
                # The registry closes connections that were idle, and some after an error.
                self.connection = None
                if fresh or attempt == 2:
                    return 0, {}
        return 0, {}

    def begin(self, name):
        """The path of a new upload session."""
        status, headers = self.ask("POST", f"/v2/{name}/blobs/uploads/")
        return urllib.parse.urlsplit(headers["Location"]) if status == 202 else None

    def upload(self, name, content):
        """Pushes a blob in two chunks."""
        if (session := self.begin(name)) is None:
            return
        half = len(content) // 2
        status, headers = self.ask("PATCH", f"{session.path}?{session.query}", content[:half], content_type=BYTES)
        if status == 202:
            session = urllib.parse.urlsplit(headers["Location"])
            self.ask("PUT", f"{session.path}?{session.query}&digest={digest(content)}", content[half:], content_type=BYTES)

    def push(self, name, tag, layers):
        """Pushes an image, and returns its digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "tag": tag}).encode()
        self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest(config)}", config, content_type=BYTES)
        for layer in layers:
            if self.ask("HEAD", f"/v2/{name}/blobs/{digest(layer)}")[0] == 404:
                self.upload(name, layer)
        body = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described(CONFIG, config),
            "layers": [described(LAYER, layer) for layer in layers]}).encode()
        self.ask("PUT", f"/v2/{name}/manifests/{tag}", body, content_type=MANIFEST)
        return digest(body)

    def pull(self, name, tag):
        """Pulls an image as a client without any layer does."""
        if self.ask("HEAD", f"/v2/{name}/manifests/{tag}", accept=MANIFEST)[0] != 200:
            return
        if self.ask("GET", f"/v2/{name}/manifests/{tag}", accept=MANIFEST)[0] != 200:
            return
        manifest = json.loads(self.body)
        for descriptor in [manifest["config"], *manifest["layers"]]:
            self.ask("GET", f"/v2/{name}/blobs/{descriptor['digest']}")

    def slowly(self, name, seconds):
        """Uploads a blob whose second half comes after a pause. It is too large to be read before its turn."""
        if (session := self.begin(name)) is None:
            return
        content = os.urandom(1 << 20)
        half = len(content) // 2

        def halves():
            yield content[:half]
            time.sleep(seconds)
            yield content[half:]
        self.ask("PUT", f"{session.path}?{session.query}&digest={digest(content)}", halves(),
                 content_type=BYTES, content_length=str(len(content)))


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def described(kind, content):
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


class Traffic:
    """Threads that use a registry."""

    NAMES = ["shop/web", "shop/api", "shop/jobs", "base/debian", "tools/ci", "tools/docs"]

    def __init__(self, address, data, seconds):
        self.address, self.data, self.seconds = address, data, seconds
        self.begin = time.monotonic()
        self.ended = threading.Event()
        # Names, tags and digests of images that are there.
        self.images, self.lock = [], threading.Lock()
        self.random = random.Random(1)

    def at(self, part):
        """Waits for a part of the time to have passed; False if it is over."""
        return not self.ended.wait(max(0, self.begin + part * self.seconds - time.monotonic()))

    def some(self):
        with self.lock:
            return self.random.choice(self.images) if self.images else None

    def push(self):
        client, base, number = Client(self.address, 1), os.urandom(300_000), 0
        while not self.ended.wait(0.6):
            number += 1
            name = self.NAMES[min(number % 7, number % 5, 5)]
            layers = [base, os.urandom(self.random.randrange(20_000, 400_000))]
            pushed = client.push(name, f"1.{number}", layers)
            if number % 5 == 0:
                client.ask("POST", f"/v2/tools/docs/blobs/uploads/?mount={digest(base)}&from={name}")
            with self.lock:
                self.images.append((name, f"1.{number}", pushed))

    def pull(self, number):
        client = Client(self.address, number)
        while not self.ended.wait(0.15 + 0.15 * math.sin(time.monotonic() / 12) ** 2):
            if image := self.some():
                client.pull(*image[:2])

    def look(self):
        """What people and their tools ask, and what is not there."""
        client = Client(self.address, 9)
        paths = ["/v2/", "/v2/_catalog", "/v2/shop/web/tags/list", "/v2/shop/web/manifests/none", "/livez",
                 f"/v2/shop/api/blobs/{digest(b'none')}", f"/v2/shop/web/referrers/{digest(b'none')}", "/v2/shop/jobs/tags/list"]
        while not self.ended.wait(0.8):
            client.ask("GET", paths[self.random.randrange(len(paths))])

    def mistakes(self):
        """Uploads that are refused, cancelled and abandoned."""
        client = Client(self.address, 10)
        while not self.ended.wait(4):
            kind = self.random.randrange(3)
            if (session := client.begin("tools/ci")) is None:
                continue
            path = f"{session.path}?{session.query}"
            if kind == 0:
                client.ask("PUT", f"{path}&digest={digest(b'another')}", b"content", content_type=BYTES)
            elif kind == 1:
                client.ask("DELETE", path)

    def wrong_passwords(self):
        """Somebody who forgot a password, and one who guesses until there is a pause."""
        while not self.ended.wait(9):
            Client(self.address, 11, "forgotten", f"user{self.random.randrange(1000)}").ask("GET", "/v2/")
            if time.monotonic() - self.begin > self.seconds * 0.55:
                break
        for number in range(12):
            if self.ended.wait(0.7):
                return
            Client(self.address, 12, str(number), "root").ask("GET", "/v2/")
        # Others still log in.
        while not self.ended.wait(15):
            Client(self.address, 13, "forgotten", f"user{self.random.randrange(1000)}").ask("GET", "/v2/")

    def delete(self):
        client = Client(self.address, 14)
        if not self.at(0.15):
            return
        while not self.ended.wait(1.5):
            with self.lock:
                image = self.images.pop(0) if len(self.images) > 10 else None
            if image:
                client.ask("DELETE", f"/v2/{image[0]}/manifests/{image[2]}")

    def crowds(self):
        """More requests of a client than are answered at a time: the first ones only wait, the others are refused."""
        for part, count, pause in [(0.3, 8, 2), (0.4, 7, 3), (0.7, 8, 12)]:
            if not self.at(part):
                return
            threads = [threading.Thread(target=Client(self.address, 20).slowly, args=("tools/ci", pause)) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def damage(self):
        """A blob that cannot be read, as its file leads to itself, until its data is put back."""
        client = Client(self.address, 30)
        content = os.urandom(50_000)
        client.upload("shop/broken", content)
        encoded = digest(content).partition(":")[2]
        file = self.data / f"docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data"
        if not self.at(0.5) or not file.exists():
            return
        file.rename(self.data.parent / "aside")
        file.symlink_to("data")
        for _ in range(8):
            client.ask("GET", f"/v2/shop/broken/blobs/{digest(content)}")
            self.ended.wait(1)
        file.unlink()
        (self.data.parent / "aside").rename(file)

    def run(self):
        work = [self.push, self.look, self.mistakes, self.wrong_passwords, self.delete, self.crowds, self.damage,
                *(functools.partial(self.pull, number) for number in (2, 3, 4))]
        threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in threads:
            thread.start()
        time.sleep(self.seconds)
        self.ended.set()
        for thread in threads:
            thread.join(LIMIT)
