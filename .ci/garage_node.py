"""One node of Garage (.ci/install-garage) with a key, for scripts that try a registry over a bucket."""
import os, pathlib, shutil, socket, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = os.environ["PATH"] + f":{ROOT}/target/tools/bin:/usr/sbin"
REGION = "garage"
# Public: only this machine reaches the store.
KEY = "GK31c2f218a2e44f485b94239e"
SECRET = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835"
RPC = "1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec"


def program():
    return shutil.which("garage", path=TOOLS)


def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def end(process):
    process.terminate()
    process.wait()


def wait(port, process):
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended: {process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")


class Garage:
    """A node that keeps one copy of everything in `work`, until `ended`, an ExitStack, is closed."""

    def __init__(self, work, ended):
        self.program = program() or sys.exit("garage is needed (.ci/install-garage)")
        self.port, rpc, admin = free(), free(), free()
        self.configuration = work / "garage.toml"
        self.configuration.write_text(f"""
metadata_dir = "{work}/meta"
data_dir = "{work}/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{RPC}"
[s3_api]
s3_region = "{REGION}"
api_bind_addr = "127.0.0.1:{self.port}"
[admin]
api_bind_addr = "127.0.0.1:{admin}"
""")
        library = pathlib.Path(self.program).with_name("garage-nodelay.so")
        # See .ci/garage-nodelay.c.
        preload = {"LD_PRELOAD": str(library)} if library.is_file() else {}
        log = open(work / "garage.log", "ab")
        process = subprocess.Popen([self.program, "-c", str(self.configuration), "server"], stdout=log,
                                   stderr=log, env=dict(os.environ, RUST_LOG="garage=warn", **preload))
        ended.callback(end, process)
        wait(self.port, process)
        node = self.run("node", "id", "-q").split("@")[0]
        self.run("layout", "assign", "-z", "z", "-c", "50G", node)
        self.run("layout", "apply", "--version", "1")
        self.run("key", "import", "--yes", "-n", "m", KEY, SECRET)

    def run(self, *arguments):
        command = [self.program, "-c", str(self.configuration), *arguments]
        for _ in range(40):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout.strip()
            time.sleep(0.25)
        sys.exit(f"{command}: {done.stderr}")

    def bucket(self, name):
        self.run("bucket", "create", name)
        self.run("bucket", "allow", "--read", "--write", "--owner", name, "--key", "m")
