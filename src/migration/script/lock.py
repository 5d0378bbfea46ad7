# "prefectg" in ASCII, the same in every release, so that all pods meet at one lock.
# PostgreSQL keeps it per database: two Prefects on one server do not.
LOCK = 0x7072656665637467
# No timeout ends the lock's transaction; if the node is lost it goes within a minute.
SETTINGS = """SELECT set_config(name, wanted, true) FROM pg_settings JOIN (VALUES
    ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
    ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
    ('tcp_keepalives_count', '3'), ('application_name', 'prefect-guard migration')
    ) AS wish (key, wanted) ON name = key"""


def bound(version):
    """Before 3.8 the timeout of a server's queries, 10 s, bounds migrations too."""
    old = [int(part) for part in re.findall(r"\d+", version)[:2]] < [3, 8]
    name = "PREFECT_API_DATABASE_TIMEOUT"
    name = name if old else "PREFECT_SERVER_DATABASE_MIGRATION_TIMEOUT"
    end = "DATABASE_TIMEOUT" if old else "MIGRATION_TIMEOUT"
    found = [known for known in os.environ if known.upper().endswith(end)]
    wished = OPTIONS.get("statement-timeout")
    if wished:
        for known in found:
            del os.environ[known]
        os.environ[name] = wished
        say(f"{wished} s at most for each statement")
    elif old and not found:
        os.environ[name] = "3600"
        say(f"Prefect {version}: one hour for each statement, in place of 10 s")


def become(prefect=None):
    """Output and exit code are the command's own."""
    if "plan" in OPTIONS:
        stop("no preview: this database cannot be asked")
    if prefect:
        bound(prefect.version)
    try:
        os.execvp(COMMAND[0], COMMAND)
    except OSError as error:
        stop(f"cannot run `{COMMAND[0]}`: {error.strerror}", 127)


def stop(text, code=1):
    say(text)
    os.write(EXPLAINED[1], b".")  # nothing to add for the process that waits
    sys.exit(code)


def preview(prefect, schema):
    """From where to where, and which revisions may take their time on large tables."""
    try:
        after, steps = revisions(prefect.place), []
        (at,) = prefect.heads
        (begin,) = schema or [""]
        while at != begin:
            steps, at = [at, *steps], after[at]
    except (Unusual, KeyError, ValueError):
        return
    begin = begin or "an empty schema"
    say(f"{len(steps)} revisions to run, from {begin} to {steps[-1]}")
    if not schema:
        return
    slow = {
        "build indexes concurrently": "CONCURRENTLY",
        "rewrite rows": "UPDATE|type_=",
    }
    for path in prefect.place.glob("*.py"):
        text = path.read_text("utf-8")
        words = text.partition("def upgrade")[2].partition("\ndef ")[0]
        mine = re.search(r"(?m)^revision\b.*= .(\w+)", text)
        for what, sign in slow.items():
            if mine and mine[1] in steps and re.search(f"(?i){sign}", words):
                say(f"  {path.stem} may {what}")


async def migrate(prefect):
    """Returns where there is nothing to do."""
    try:
        db = await connect(prefect)
    except Exception as error:
        # The command would fail as well, at once, and say less.
        if await no_connection(error, prefect):
            os.write(EXPLAINED[1], b".")
            sys.exit(1)
        raise
    for second in itertools.count():
        schema = await schema_of(db)
        at = f"the schema is at {' '.join(schema)}"
        if schema and set(schema) == prefect.heads:
            unbuilt(await rows(db, INVALID))
            return say(f"{at}, as Prefect {prefect.version} needs it")
        # Another product's alembic_version is no newer schema of Prefect's.
        newer = not prefect.known.issuperset(schema) and await is_there(db, "flow_run")
        if newer and OPTIONS.get("on-newer-schema") == "continue":
            return say(
                f"{at}, newer than Prefect {prefect.version}: nothing to migrate"
            )
        if second == 0:
            with contextlib.suppress(
                Exception
            ):  # if it cannot look, it can still migrate
                await look(db, prefect)
        if "plan" in OPTIONS:
            return preview(prefect, schema)
        await db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        if await rows(db, f"SELECT 1 WHERE pg_try_advisory_xact_lock({LOCK})"):
            break
        # CREATE INDEX CONCURRENTLY waits for open transactions: none while asleep.
        await db.execute("ROLLBACK")
        if second >= int(OPTIONS.get("lock-timeout", second + 1)):
            stop(f"another pod's migration did not end within {second} s")
        if second % 30 == 0:
            say(f"waiting for another pod's migration (advisory lock {LOCK})")
        await asyncio.sleep(1)
    await rows(db, SETTINGS)
    preview(prefect, schema)
    # The lock lasts as long as the transaction, that is until the command, which keeps
    # the socket, has ended: a killed pod leaves none behind, nor does a pooler.
    sock = db._transport.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    os.set_inheritable(sock.fileno(), True)
    become(prefect)


async def quick_way(prefect):
    """Whether the schema is what this Prefect needs; all else takes the long way."""
    db = await prefect.connect()
    schema = await schema_of(db)
    if len(schema) != 1 or set(schema) != prefect.heads:
        return False
    unbuilt(await rows(db, INVALID))
    say(f"the schema is at {schema[0]}, as Prefect {prefect.version} needs it")
    return True


def work():
    prefect = quick()
    with contextlib.suppress(Exception):  # the long way says what it is
        if prefect and asyncio.run(quick_way(prefect)):
            return
    try:
        prefect = Full()
        if prefect.sqlite:
            stop_on_sqlite(prefect)
            become()
        asyncio.run(migrate(prefect))
    except Exception as error:  # noqa: BLE001 (its text could show a part of the URL)
        say(f"no lock to be had ({type(error).__name__})")
        if "plan" not in OPTIONS:
            say("migrating without one")
        become(prefect)


def stop_on_sqlite(prefect):
    """A PostgreSQL in the environment that this Prefect does not read is a mistake."""
    if unread_url(prefect) and OPTIONS.get("on-sqlite") != "continue":
        stop(f"it does not read that variable; {URLS[1]} works in all releases")
    say("no PostgreSQL URL reaches Prefect, it uses SQLite: migrating without a lock")


async def after_failure(prefect):
    try:
        await look(await prefect.connect(), prefect)
    except Exception as error:  # noqa: BLE001 (what it says is in its number)
        await no_connection(error, prefect)


def ended(code):
    """What the last lines of the log should say where the command has failed."""
    if code == 137:
        say("the migration was killed, as happens where memory runs out")
    elif 0 < code < 128 and not os.read(EXPLAINED[0], 1):
        signal.alarm(60)
        with contextlib.suppress(Exception):  # the command's own words stand above
            prefect = quick() or Full()
            if not prefect.sqlite:
                asyncio.run(after_failure(prefect))
    os._exit(code)


EXPLAINED = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    work()
    sys.exit(0)
# This process stays small: it hands signals on, and speaks when the command has failed.
os.close(EXPLAINED[1])
for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
    signal.signal(number, lambda number, _: os.kill(child, number))
while True:
    pid, status = os.wait()  # as the first process of a container: whatever has ended
    if pid == child:
        break
signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
for number in signal.SIGTERM, signal.SIGINT:
    signal.signal(number, lambda number, _: os._exit(128 + number))
ended(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
