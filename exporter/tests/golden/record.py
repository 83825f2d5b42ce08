#!/usr/bin/env python3
"""Records the golden captures beside this file: what real servers answer to every command a poll may
send, and what redis_exporter shows of the same server at the same time.

    record.py NAME=SERVER ... -- VERSION=REDIS_EXPORTER ...
    record.py redis-7.0=/usr/bin/redis-server -- 1.45=/usr/bin/prometheus-redis-exporter

A capture is one JSON file for each server and kind (master, replica, cluster, sentinel): `at_ms`,
`replies` by command, and `pages` by version of redis_exporter. A page is scraped before and after the
replies are read; a sample that moved in between has the value "*", because reading is what moved it.
A version that ends in + is started with the optional families on; only those are kept of its page.
Paths and the kernel's name are replaced. Nothing listens outside of 127.0.0.1.
"""
import json, pathlib, re, socket, subprocess, sys, tempfile, time, urllib.request

HERE = pathlib.Path(__file__).parent
COMMANDS = """
PING
INFO default commandstats errorstats
INFO
INFO commandstats
INFO errorstats
INFO latencystats
INFO modules
SLOWLOG LEN
SLOWLOG GET 128
LATENCY LATEST
LATENCY HISTOGRAM
ROLE
CONFIG GET *
CLIENT LIST
ACL WHOAMI
ACL LIST
ACL LOG 128
MODULE LIST
CLUSTER INFO
CLUSTER NODES
CLUSTER SHARDS
CLUSTER SLOT-STATS ORDERBY KEY-COUNT LIMIT 16 DESC
CLUSTER SLOT-STATS ORDERBY CPU-USEC LIMIT 16 DESC
COMMANDLOG LEN slow
COMMANDLOG LEN large-request
COMMANDLOG LEN large-reply
SENTINEL MASTERS
SENTINEL SLAVES m1
SENTINEL SENTINELS m1
SENTINEL CKQUORUM m1
SENTINEL CONFIG GET *
""".strip().splitlines()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1] % 20000 + 10000  # cluster nodes need port + 10000 too


class Conn:
    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")

    def __call__(self, *args):
        packed = b"*%d\r\n" % len(args)
        for arg in args:
            packed += b"$%d\r\n%s\r\n" % (len(arg.encode()), arg.encode())
        self.file.write(packed)
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:].decode()
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode("latin-1")
        if kind == b"*":
            return None if rest == "-1" else [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else {"error" if kind == b"-" else "status": rest}


class Server:
    def __init__(self, program, folder, *config):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(dir=folder)
        conf = pathlib.Path(self.folder, "redis.conf")
        lines = ["bind 127.0.0.1", f"port {self.port}", f"dir {self.folder}", "save ''"]
        if "--sentinel" in config:
            lines = lines[:3]
        lines += [c for c in config if not c.startswith("--")]
        conf.write_text("\n".join(lines) + "\n")
        flags = [c for c in config if c.startswith("--")]
        self.process = subprocess.Popen([program, str(conf), *flags], stdout=subprocess.DEVNULL)
        wait(lambda: Conn(self.port)("PING"))
        self.call = Conn(self.port)


def wait(probe):
    for _ in range(600):
        try:
            if probe():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("waited a minute in vain")


OPTIONAL = ["-include-config-metrics", "-include-modules-metrics", "-export-client-list"]


def optional(lines, default):
    """The families of a page that the default page has not."""
    known, kept, keep = {l for l in default if l.startswith("# ")}, [], False
    for line in lines:
        if line.startswith("# "):
            keep = line not in known
        if keep:
            kept.append(line)
    return kept


def samples(page):
    return dict(l.rsplit(" ", 1) for l in page.splitlines() if l and not l.startswith("#"))


def merge(before, after):
    old, new, out = samples(before), samples(after), []
    for line in before.splitlines():
        if line.startswith("# TYPE "):
            out.append(line)
        elif line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            out.append(f"{name} {value if new.get(name) == old[name] else '*'}")
    return out


def capture(name, server, peers, scrub):
    def pages():
        url = "http://127.0.0.1:%d/scrape?target=127.0.0.1:%d"
        return [urllib.request.urlopen(url % (p, server.port)).read().decode() for p in peers.values()]

    pages()  # the first scrape leaves traces of its own in the command statistics
    before = pages()
    at_ms = int(time.time() * 1000)
    call = Conn(server.port)  # a connection of our own, as each scrape has one
    replies = {c: call(*c.split(" ")) for c in COMMANDS}
    call.file.close()
    after = pages()
    told = {
        "at_ms": at_ms,
        "replies": replies,
        "pages": {v: merge(b, a) for v, b, a in zip(peers, before, after)},
    }
    for version in [v for v in peers if v.endswith("+")]:
        lines = told["pages"][version]
        told["pages"][version] = optional(lines, told["pages"][version[:-1]])
    text = json.dumps(told, indent=0, ensure_ascii=True)
    for pattern, to in scrub:
        text = re.sub(pattern, to, text)
    (HERE / f"{name}.json").write_text(text + "\n")


def load(call):
    call("CONFIG", "SET", "latency-monitor-threshold", "1")
    for i in range(20):
        call("SET", f"k{i}", "v", "EX", "100000")
        call("GET", f"k{i}")
    call("GET", "absent")
    call("HSET", "h", "f", "v")
    call("LPUSH", "k1", "x")
    call("NOSUCHCOMMAND")
    call("CONFIG", "SET", "slowlog-log-slower-than", "1000")
    call("EVAL", "for i = 1, 3000000 do end", "0")


def engine(name, program, peers):
    with tempfile.TemporaryDirectory() as folder:
        started = []

        def start(*config):
            started.append(Server(program, folder, *config))
            return started[-1]

        try:
            master = start("databases 16", "user app on >secret ~app:* +@read")
            replica = start(f"replicaof 127.0.0.1 {master.port}")
            cluster = start("cluster-enabled yes", "cluster-node-timeout 5000")
            cluster.call("CLUSTER", "ADDSLOTS", *map(str, range(16384)))
            cluster.call("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
            watch = f"sentinel monitor m1 127.0.0.1 {master.port} 1"
            sentinel = start("--sentinel", watch)
            wait(lambda: "cluster_state:ok" in cluster.call("CLUSTER", "INFO"))
            wait(lambda: "master_link_status:up" in replica.call("INFO", "replication"))
            wait(lambda: "slaves=1" in sentinel.call("INFO", "sentinel"))
            load(master.call)
            load(cluster.call)
            # the replica's first acknowledgements, and the first ticks of averages
            time.sleep(3)
            scrub = [
                (re.escape(folder) + r"/[a-z0-9_]*", "/var/lib/redis"),
                (r"Linux [^\\\" ]* x86_64", "Linux 6.1.0 x86_64"),
                (re.escape(str(program)), "/usr/bin/redis-server"),
                (r"executable:[^\\]*", "executable:/usr/bin/redis-server"),
            ]
            servers = {"master": master, "replica": replica, "cluster": cluster, "sentinel": sentinel}
            for kind, server in servers.items():
                capture(f"{name}-{kind}", server, peers, scrub)
        finally:
            for server in started:
                server.process.terminate()
                server.process.wait()


def main():
    split = sys.argv.index("--")
    engines = [a.split("=", 1) for a in sys.argv[1:split]]
    peers, running = {}, []
    try:
        for version, program in (a.split("=", 1) for a in sys.argv[split + 1:]):
            peers[version] = free_port()
            listen = f"127.0.0.1:{peers[version]}"
            flags = OPTIONAL if version.endswith("+") else []
            command = [program, "-web.listen-address", listen, *flags]
            running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            wait(lambda: urllib.request.urlopen(f"http://{listen}/health"))
        for name, program in engines:
            engine(name, program, peers)
    finally:
        for process in running:
            process.terminate()


main()
