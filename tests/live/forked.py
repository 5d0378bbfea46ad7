"""Containers whose Python begins as a fork of one that has imported what Prefect is made of.

Importing Prefect takes seconds of a processor, more than half of which goes to packages that are
not Prefect's and that no environment changes. Where a test starts very many containers, `python -c`
and `prefect` may be had from here: small programs in front of the venv in the PATH, which hand
their arguments, environment, directory, output and signals to a fork of a Python of that venv, and
end as it does. All of Prefect itself, its settings first, is imported in the fork, under the
container's own environment. `test_harm.py` runs a part of its cases both ways and compares.
"""

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

# The program in front: as small as can be, so that it starts at once.
CLIENT = """#!/usr/bin/python3 -IS
import json, os, signal, socket, sys

ARGUMENTS, NAME = sys.argv[1:], os.path.basename(sys.argv[0])
if NAME != "prefect" and ARGUMENTS[:1] != ["-c"]:
    os.execv(f"{venv}/{NAME}", [NAME, *ARGUMENTS])
server = socket.socket(socket.AF_UNIX)
server.connect("{address}")
umask = os.umask(0o22)
asked = {
    "name": NAME, "arguments": ARGUMENTS, "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask,
}
text = json.dumps(asked).encode()
socket.send_fds(server, [len(text).to_bytes(8, "big")], [0, 1, 2])
server.sendall(text)
for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
    signal.signal(number, lambda number, _: server.send(bytes([number])))
said = server.recv(4)
if len(said) != 4:
    sys.exit(f"{NAME}: no Python to be forked, see {address}.log")
status = int.from_bytes(said, "big")
if os.WIFSIGNALED(status):
    if os.WTERMSIG(status) != signal.SIGKILL:
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.waitstatus_to_exitcode(status))
"""

# What Prefect's server and its command line import that is not Prefect's.
FOREIGN = """
import contextlib, json, sys
import alembic.command, alembic.config, alembic.script
from prefect.server.database.dependencies import provide_database_interface
provide_database_interface()
with contextlib.suppress(ImportError):
    import prefect.cli
with contextlib.suppress(ImportError):
    import prefect.cli.server
names = [name for name, module in list(sys.modules.items()) if getattr(module, "__spec__", None)]
json.dump([n for n in names if not n.startswith(("prefect", "_", "sitecustomize"))], sys.stdout)
"""


def foreign(python):
    """The names of those modules, which are looked for once for each venv."""
    kept = Path(python).parent.parent / "foreign.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as home:
            found = subprocess.run(
                [python, "-c", FOREIGN], check=True, capture_output=True, timeout=120,
                cwd=home, env={"PATH": "/usr/bin:/bin", "HOME": home},
            )  # fmt: skip
        own = kept.with_name(f"foreign-{os.getpid()}")
        own.write_text(json.dumps(json.loads(found.stdout)))
        own.rename(kept)
    return json.loads(kept.read_text())


class Forks:
    """A directory for the PATH, for each venv that is asked for; ends with the test run."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="prefect-guard-forks-"))
        self.directory.chmod(0o755)
        self.running, self.lock = {}, threading.Lock()

    def path(self, venv):
        """Where the programs are that stand before those in that directory of a venv."""
        with self.lock:
            if venv not in self.running:
                self.running[venv] = self.start(Path(venv))
            return self.running[venv][0]

    def start(self, venv):
        folder = self.directory / venv.parent.name
        folder.mkdir()
        address = folder / "socket"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(address))
        listener.listen(64)
        text = CLIENT.replace("{address}", str(address)).replace("{venv}", str(venv))
        for name in ("python", "python3", "prefect"):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        foreign(venv / "python")
        log = address.with_suffix(".log").open("wb")
        process = subprocess.Popen(
            [venv / "python", __file__, str(listener.fileno())],
            pass_fds=[listener.fileno()], stdin=subprocess.PIPE, cwd="/",
            stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
            start_new_session=True,
        )  # fmt: skip
        log.close()
        listener.close()
        return folder, process

    def end(self):
        for folder, process in self.running.values():
            process.kill()
            process.wait(10)
            for file in folder.iterdir():
                if not stat.S_ISDIR(file.lstat().st_mode):
                    file.unlink()
        self.running.clear()


# --- the Python of a venv that is forked; only its standard library --------------------------


def receive(connection):
    """What a program in front asks for, and its three files; nothing if it is gone."""
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    text = b""
    while head and len(text) < int.from_bytes(head, "big"):
        part = connection.recv(1 << 16)
        if not part:
            return None, files
        text += part
    return (json.loads(text) if head else None), files


def become(asked, files):
    """Run the program in this process, as if it had just been started."""
    import random
    import types

    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    random.seed()
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if asked["name"] == "prefect":
        program = os.path.join(os.path.dirname(sys.executable), "prefect")
        sys.argv = [program, *asked["arguments"]]
        sys.path.insert(0, os.path.dirname(program))
        main.__file__ = program
        with open(program) as file:
            code = compile(file.read(), program, "exec")
    else:
        _, text, *rest = asked["arguments"]
        sys.argv = ["-c", *rest]
        sys.path.insert(0, "")
        code = compile(text, "<string>", "exec")
    try:
        exec(code, main.__dict__)  # noqa: S102 (what a container runs)
    except Exception as error:  # noqa: BLE001 (shown as it would be, without this frame)
        sys.excepthook(type(error), error, error.__traceback__.tb_next)
        sys.exit(1)


def serve(listener):
    """Fork for each that asks; tell it how the fork has ended, and end the fork with it. Returns
    in the forks only."""
    import selectors
    import signal

    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)  # ends with whoever has started us
    children = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                sys.exit(0)
            if key.fileobj is listener:
                connection, _ = listener.accept()
                asked, files = receive(connection)
                child = os.fork() if asked else 0
                if asked and not child:
                    selector.close()
                    listener.close()
                    connection.close()
                    for other, ended, _ in children.values():
                        other.close()
                        os.close(ended)
                    return asked, files
                for file in files:
                    os.close(file)
                if not asked:
                    connection.close()
                    continue
                ended = os.pidfd_open(child)
                children[child] = connection, ended, child
                selector.register(connection, selectors.EVENT_READ, child)
                selector.register(ended, selectors.EVENT_READ, child)
                continue
            if key.data not in children:
                continue
            connection, ended, child = children[key.data]
            if key.fileobj is connection:
                said = b""
                with contextlib.suppress(OSError):
                    said = connection.recv(64)
                for number in said:
                    os.kill(child, number)
                if not said:  # killed: so is what it stood for
                    selector.unregister(connection)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                        os.killpg(child, signal.SIGKILL)
                continue
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(OSError):
                connection.sendall(status.to_bytes(4, "big"))
            with contextlib.suppress(KeyError):
                selector.unregister(connection)
            selector.unregister(ended)
            connection.close()
            os.close(ended)
            del children[child]


def main():
    import gc
    import importlib

    sys.path.pop(0)  # where this file is: nothing is imported from there
    for name in foreign(sys.executable):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert not any(name.partition(".")[0] == "prefect" for name in sys.modules)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    return serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    become(*main())
