"""Whether the Prefect of this Python would start as a server, once for each line of stdin.

A line is JSON: {"env", "cwd", "words"}. The answer is a line of JSON too: {"starts", "driver",
"name", "why"}. Each is tried in a process of its own, which has that environment and nothing else:
Prefect has the command, reads its settings, makes its database interface, and its own engine
connects and asks.
What Prefect is made of is imported before, so that an answer takes a second or two of a processor,
and not four.
"""

import asyncio
import contextlib
import gc
import importlib.util
import json
import os
import select
import signal
import sys
import warnings

from forked import foreign

warnings.simplefilter("ignore")

for name in foreign(sys.executable):
    with contextlib.suppress(ImportError):  # it saves time, no more
        importlib.import_module(name)
gc.freeze()

DEAD = {"starts": False, "driver": None, "name": None}
# An engine has so long to connect; whoever has said nothing after the second has no answer.
CONNECTS, ANSWERS = 30, 60


async def asked(interface):
    engine = await interface.engine()
    async with engine.connect() as connection:
        await connection.exec_driver_sql("SELECT 1")
        url = engine.url
        return url.get_backend_name(), str(url.database)


def answer(case):
    os.environ.clear()
    os.environ.update(case["env"])
    os.chdir(case["cwd"])
    sys.argv = case["words"] or ["prefect"]
    words = sys.argv
    for place, word in enumerate(words[:-1]):
        if word in ("-p", "--profile"):
            os.environ["PREFECT_PROFILE"] = words[place + 1]
    if "orion" in words and not importlib.util.find_spec("prefect.cli.orion"):
        return {**DEAD, "why": "no command `orion`"}
    try:
        from prefect.server.database.dependencies import provide_database_interface

        found = asyncio.run(
            asyncio.wait_for(asked(provide_database_interface()), CONNECTS)
        )
    except BaseException as error:  # noqa: BLE001 (whatever stops Prefect is the answer)
        return {**DEAD, "why": type(error).__name__}
    return {"starts": True, "driver": found[0], "name": found[1], "why": ""}


def main():
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            os.write(writer, json.dumps(answer(json.loads(line))).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            answers = select.select([told], [], [], ANSWERS)[0]
            if not answers:
                os.kill(child, signal.SIGKILL)
            text = told.read()
        os.waitpid(child, 0)
        why = "died" if answers else f"no answer within {ANSWERS} s"
        print(text or json.dumps({**DEAD, "why": why}), flush=True)


if __name__ == "__main__":
    main()
