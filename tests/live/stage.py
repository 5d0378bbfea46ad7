"""Containers of any manifest as processes on this machine, their database the test's own.

What a manifest says is kept in its shape: the driver, the options, where a value comes from,
every program in front of Prefect. Hosts, ports, users, the names of databases and paths become
the test's own; what a Secret or a store would hold is made up, as its author would have filled
it in. A few lines of shell stand in for the programs that are not here: those that run another
one hand on to it, those that install or wait do nothing, and a script of the author's own, which
nobody has seen, starts the server. Volumes are directories that are there; there is no isolation.
"""

import re
import shutil
import urllib.parse
from pathlib import Path

import migration
from podrunner import ENTRYPOINT, FILES, Unsupported, expand, write_program
from services import CANARY, HOST

OURS = "prefect-guard-migrate"
RELEASE = re.compile(r"prefect:([23])\.(\d+)\.(\d+)|prefect:([23])-latest")
# SQLAlchemy's grammar of a URL.
URL = re.compile(
    r"(?P<driver>[\w+]+)://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<host>\[[^/?]+\]|[^/:?]*)(?P<port>:[^/?]*)?(?P<name>/[^?]*)?(?P<query>\?.*)?",
    re.DOTALL,
)
IN_A_SCRIPT = re.compile(r"(postgresql\+asyncpg|sqlite\+aiosqlite)://[^\s\"';]+")
# Filled in later, by something that the manifest only names.
OPAQUE = re.compile(
    r"(vault|sm|op|awssm|gcp\w*)://?|vault:|ENC\[|\S+@azurekeyvault$|>>"
)
FOLDERS = re.compile(
    r"(?<![\w/.$}])/(?:run|vault|secrets|etc|data|var|home|mnt)(?![\w.-])[\w./-]*"
)
BINARY = re.compile(r"/[\w./-]*/bin/(prefect|python3?|uvicorn|uv|tini)$")
HAND_ON = 'while [ "$1" != -- ]; do shift; done; shift\n'
FILL = "export PREFECT_API_DATABASE_CONNECTION_URL=$(cat {root}/run/secrets/url)\n"
FILLERS = ("berglas", "dotenv", "dotenvx", "doppler", "infisical", "op", "secretly")
STAND_INS = {
    **FILES,
    # It installs too, and there is nothing to install.
    "uv": '[ "$1" = run ] || exit 0\nshift\nexec "$@"',
    "uvx": 'shift\nexec prefect "$@"',
    **dict.fromkeys(("pip", "apt-get", "curl", "nc", "pg_isready"), "exit 0"),
    "wait-for-it": HAND_ON + 'exec "$@"',
    "runuser": HAND_ON + 'exec "$@"',
    # Without -E it takes the environment away.
    "watchmedo": HAND_ON + 'exec "$@"',
    "sudo": '[ "$1" = -E ] || exec env -i PATH="$PATH" HOME="$HOME" "${{@:3}}"\n'
    'exec "${{@:4}}"',
    **dict.fromkeys(FILLERS, HAND_ON + FILL + 'exec "$@"'),
}
# Stands where the server would begin: writes its environment down.
CALL = """case " $* " in
*" database "* | *" worker "* | *" work-pool "* | *" deploy "*) exit 0 ;;
*server*|*orion*|*services*) env -0 >{seen}; printf '%s\\0' "$@" >{seen}.words; exit 0 ;;
esac
exec {venv}/{name} "$@"
"""


def release(image):
    """The Prefect here that comes next to the one in the image; the newest if nobody knows."""
    found = RELEASE.search(image)
    number = [int(part) for part in found.groups() if part] if found else [3]
    known = (
        ([3, 0, 11], migration.OLDEST),
        ([3, 8], migration.MIDWAY),
        ([3, 9], migration.RECENT),
    )
    if number[0] == 2:
        return migration.PREFECT_2
    if len(number) == 1:
        return migration.NEWEST
    return next((name for below, name in known if number < below), migration.NEWEST)


class Stage:
    """A directory in which containers run, and the database that they find."""

    def __init__(self, directory, prefect, server, database, holds):
        self.root = Path(directory)
        self.database, self.port = database, server.port
        self.sockets, self.ca = server.directory, server.ca.read_text()
        self.key = (server.directory / "server.key").read_text()
        self.prefect, self.holds = prefect, holds
        self.venv = migration.LIVE / f"prefect-{prefect}" / "bin"
        self.home = self.root / "home"
        for folder in (self.home, self.root / "data"):  # the home, and the claim
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in STAND_INS.items():
            self.program("bin", name, text.format(root=self.root))
        for name in ("prefect", "python", "python3", "uvicorn"):
            text = CALL.format(seen=self.root / "seen", venv=self.venv, name=name)
            self.program("calls", name, text)
        self.write("/run/secrets/url", self.url())
        self.write("/home/.postgresql/root.crt", self.ca)

    def program(self, folder, name, text):
        write_program(self.root / folder / name, text)

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    # --- values ---------------------------------------------------------------------------

    def url(self):
        """What a Secret holds as the URL."""
        if self.holds == "sqlite":
            return f"sqlite+aiosqlite:///{self.root}/data/prefect.db"
        password = urllib.parse.quote(CANARY, safe="")
        return f"postgresql+asyncpg://{self.database}:{password}@{HOST}:{self.port}/{self.database}"

    def unseen(self, name, quoted):
        """What a Secret or ConfigMap holds for a variable of this name."""
        name = name.lower()
        password = urllib.parse.quote(CANARY, safe="") if quoted else CANARY
        known = (
            ("url|api_db|connection.string", self.url()),
            ("pass|pw", password),
            ("user", self.database),
            ("host", HOST),
            ("port", str(self.port)),
            ("home", f"{self.root}/data"),
            ("name$|_db$|database$", self.database),
        )
        return next((value for like, value in known if re.search(like, name)), "1")

    def value(self, name, text):
        """A literal value, its references expanded, as it is here."""
        if OPAQUE.match(text):
            return self.url()
        if IN_A_SCRIPT.match(text) or re.match(r"postgres\w*://", text):
            return self.address(text)
        part = re.fullmatch(r"PREFECT_(?:SERVER|API)_DATABASE_(\w+)", name.upper())
        own = {"HOST": HOST, "PORT": str(self.port), "NAME": self.database}
        if part and part[1] in own:
            return own[part[1]]
        if part and part[1] == "USER":
            return f"{self.database}_free"
        if name == "PGHOST":
            return HOST
        return self.paths(text)

    def address(self, text):
        """A URL with its driver and options, and the test's server. What a manifest shows as a
        password stays as it is, however odd: the user of that URL needs none."""
        if text.startswith("sqlite"):
            return re.sub(
                r"^([\w+]+:///)(/[^?]*)", rf"\g<1>{self.root}\g<2>", text, count=1
            )
        parts = URL.fullmatch(text)
        if not parts:
            raise Unsupported(f"URL {text}")
        given, user = parts["password"], self.database
        mine = given and urllib.parse.quote(CANARY, safe="") in given
        if not mine and not re.search(r"\$[{A-Z]", given or ""):
            user += "_free"
        credentials = "" if parts["user"] is None else user
        credentials += "" if given is None else f":{given}"
        query = re.sub(
            r"host=/[^&]*",
            f"host={self.sockets}&port={self.port}",
            parts["query"] or "",
        )
        query = re.sub(r"host=[^&/][^&]*", f"host={HOST}:{self.port}", query)
        host = f"{HOST}:{self.port}" if parts["host"] else ""
        name = parts["name"]
        name = f"/{self.database}" if name and name != "/" else name or ""
        return f"{parts['driver']}://{credentials}{'@' if credentials else ''}{host}{name}{query}"

    def paths(self, text):
        """Paths of the pod's file system are below our root; what is read there is there."""

        def moved(match):
            path = match[0]
            file = self.root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if path.startswith("/etc/") and path.endswith((".pem", ".crt", ".key")):
                file.write_text(self.key if path.endswith(".key") else self.ca)
            read = path.startswith(("/run/", "/vault/", "/secrets/"))
            if read and not file.exists():
                password = urllib.parse.quote(CANARY, safe="")
                secret = f"export PREFECT_SERVER_DATABASE_PASSWORD={password}\n"
                content = self.unseen(path.rpartition("/")[2], False)
                file.write_text(secret if content == "1" or "db" in path else content)
            return str(file)

        return FOLDERS.sub(moved, text)

    # --- a container ----------------------------------------------------------------------

    def environment(self, spec):
        """The container's own variables, as its first process sees them."""
        words = " ".join([*(spec.get("command") or []), *(spec.get("args") or [])])
        values = [entry.get("value", "") for entry in spec.get("env") or []]
        referenced = " ".join(values) + words
        seen = {}
        for source in spec.get("envFrom") or []:
            name = source.get("prefix", "") + (
                "CONNECTION_URL" if source.get("prefix") else migration.OLD_URL
            )
            if self.holds != "nothing":
                seen[name] = self.url()
        for entry in spec.get("env") or []:
            name, source = entry["name"], entry.get("valueFrom")
            if source is None:
                seen[name] = expand(entry.get("value", ""), seen)
            elif "fieldRef" in source:
                seen[name] = "pod-1"
            else:
                # Part of a URL: whoever wrote the Secret has quoted it.
                quoted = re.search(rf"\$[({{]{name}[)}}]", referenced)
                seen[name] = self.unseen(name, bool(quoted))
        shown = {e["name"] for e in spec.get("env") or [] if "valueFrom" not in e}
        env = {n: self.value(n, v) if n in shown else v for n, v in seen.items()}
        self.without_a_port(env)
        env["HOME"] = str(self.home)
        return env

    def without_a_port(self, env):
        """Where the manifest leaves the port to its default, ours has to be said."""
        for start in ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_"):
            if f"{start}HOST" in env and f"{start}PORT" not in env:
                env[f"{start}PORT"] = str(self.port)
        if "PGHOST" in env:
            env["PGPORT"] = str(self.port)

    def words(self, spec, env):
        command = spec.get("command")
        if not command and "prefecthq/prefect" not in spec["image"]:
            raise Unsupported("an entrypoint that nobody has seen")
        words = [*(command or ENTRYPOINT), *(spec.get("args") or [])]
        return [self.word(expand(word, env)) for word in words]

    def word(self, word):
        if word.startswith("import sys"):
            return word  # our script
        if word == ENTRYPOINT[-1]:
            return str(self.root / "bin/entrypoint.sh")
        if re.fullmatch(r"/[\w./-]+\.sh", word):
            self.program("bin", Path(word).name, "exec prefect server start")
            return str(self.root / "bin" / Path(word).name)
        program = BINARY.fullmatch(word)
        if program:
            return program[1]
        word = IN_A_SCRIPT.sub(lambda m: self.in_a_script(m[0]), word)
        return self.paths(word)

    def in_a_script(self, url):
        """A host that is a shell's variable has been translated with it."""
        parts = URL.fullmatch(url)
        return url if parts and "$" in parts["host"] else self.address(url)

    def start(self, spec, calls=False, forks=None, **more):
        """Start a container; with `calls` it ends at the call of the server, with `forks` its Python
        is one."""
        own = self.environment(spec)
        folders = [self.root / "calls"] if calls else []
        folders.append(self.root / "bin")
        if forks:
            folders.append(forks.path(self.venv))
        path = ":".join(map(str, [*folders, self.venv, "/usr/bin", "/bin"]))
        # The system trusts the test's CA, as a pod's may trust a company's.
        trust = str(self.home / ".postgresql/root.crt")
        base = {"PATH": path, "DO_NOT_TRACK": "1", "SSL_CERT_FILE": trust}
        env = {**base, **own, **more}
        words = self.words(spec, env)
        if not Path(words[0]).is_absolute() and not shutil.which(words[0], path=path):
            raise Unsupported(f"program {words[0]}")
        log = self.root / f"log-{'calls' if calls else spec['name']}"
        return migration.Process(words, env, log)

    def run(self, spec, seconds, calls=False, forks=None):
        """Run a container to its end, or up to the call of the server."""
        process = self.start(spec, calls, forks)
        try:
            process.wait(seconds)
        finally:
            process.kill()
        return process

    def called(self, spec):
        """The environment and the words with which the server's own container calls it."""
        process = self.run(spec, 30, calls=True)
        seen = self.root / "seen"
        if not seen.exists():
            raise Unsupported(f"no call of the server: {process.output()[-300:]}")
        pairs = seen.read_text().rstrip("\0").split("\0")
        env = dict(pair.split("=", 1) for pair in pairs)
        env["PATH"] = env["PATH"].replace(f"{self.root}/calls:", "")
        words = seen.with_name("seen.words").read_text().rstrip("\0").split("\0")
        seen.unlink()
        return env, words
