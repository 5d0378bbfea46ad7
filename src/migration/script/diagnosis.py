REASONS = {
    "28P01": "the database refuses the password of this user",
    "28000": "the database lets this user or this host not in (see its pg_hba.conf)",
    "53300": "the database has too many connections: raise its limit, or use a pooler",
    "57P03": "the database is still starting up",
    "42501": "this user may not read Prefect's tables: GRANT it SELECT",
}


def state(error):
    return getattr(error, "sqlstate", None) or ""


def reason(error, host):
    """Why there is no connection, in our own words: its text could show a password."""
    text = str(error)
    if isinstance(error, socket.gaierror):
        return f"host `{host}` is unknown: no such name in DNS"
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return (
            f"host `{host}` does not answer (timed out): a firewall or a wrong address"
        )
    if "rejected SSL" in text:
        return f"TLS is asked for, and `{host}` does not offer it"
    if state(error) == "28000" and re.search("no encryption|SSL off", text):
        return f"`{host}` demands TLS: add ?ssl=require to the URL"
    if type(error).__module__ == "ssl":
        return f"no TLS with `{host}`: {type(error).__name__} (is its CA known here?)"
    if state(error) in REASONS:
        return REASONS[state(error)]
    if isinstance(error, OSError):
        refused = isinstance(error, ConnectionRefusedError) or "Errno 111" in text
        why = "connection refused: nothing listens" if refused else "no connection"
        return f"{why} at host `{host}` and that port"
    return None


async def connect(prefect):
    """A connection; while the database does not answer yet, it is waited for."""
    wished = OPTIONS.get("database-timeout") or os.environ.get("PREFECT_GUARD_WAIT", "")
    end = time.monotonic() + (int(wished) if wished.isdecimal() else 60)
    for attempt in itertools.count():
        try:
            return await prefect.connect()
        except Exception as error:
            passing = isinstance(error, (OSError, asyncio.TimeoutError))
            passing = passing or state(error) in ("57P03", "53300")
            final = "rejected SSL" in str(error) or type(error).__module__ == "ssl"
            if final or not passing or time.monotonic() > end:
                raise
            if attempt % 15 == 0:
                say(f"{reason(error, prefect.host)}; trying again")
        await asyncio.sleep(2)


async def others(query=""):
    """The other databases that this user may enter and where the query has an answer.
    Only where the connection is a plain one: another name is then all it takes."""
    plain, known, found = quick(), [], []
    if not plain:
        return []
    names = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
    for place in plain.target["database"], "postgres", plain.target["user"]:
        with contextlib.suppress(Exception):
            db = await plain.connect(database=place, timeout=3)
            known = await rows(db, f"{names} ORDER BY datname NOT LIKE '%prefect%', 1")
            await db.close()
            break
    known = [name for name in known if name != plain.target["database"]]
    for name in known[:8] if query else []:
        with contextlib.suppress(Exception):
            db = await plain.connect(database=name, timeout=3)
            found += [name] if await rows(db, query) else []
            await db.close()
    return found if query else known


async def no_connection(error, prefect):
    """One or two lines on why; whether there was anything to say."""
    if state(error) == "3D000":
        say("this server has no database of the URL's name")
        from difflib import get_close_matches

        wanted = quick()
        name = wanted.target["database"] if wanted else ""
        close = get_close_matches(name, await others(), 3, 0.5)
        if close:
            say(f"did you mean {' or '.join(f'`{other}`' for other in close)}?")
        return True
    text = reason(error, prefect.host)
    if text:
        say(text)
    return bool(text)


def unbuilt(names):
    for name in names:
        say(f"index {name} is invalid, an interrupted build left it: run")
        say(f"  REINDEX INDEX CONCURRENTLY {name};")


INVALID = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"


async def look(db, prefect):
    """What stands in the way of a migration, or looks as if it did."""
    schema = await schema_of(db)
    server = db.get_server_version()
    major, minor = server.major, max(server.minor, server.micro)  # asyncpg: 14.0.9
    if (major, minor) < (14, 9):
        say(f"PostgreSQL {major}.{minor}: Prefect 3 needs 14.9 or newer")
    if schema and not prefect.known.issuperset(schema):
        if await is_there(db, "flow_run"):
            at = " ".join(schema)
            say(f"the schema, at {at}, is newer than Prefect {prefect.version}")
        else:
            say("alembic_version here is another product's: give Prefect a database")
    (may,) = await rows(
        db,
        "SELECT concat_ws('|', current_user, coalesce(current_schema, ''), coalesce("
        "has_schema_privilege(current_schema, 'CREATE'), false))",
    )
    user, namespace, allowed = may.split("|")
    if not namespace:
        say("no schema of the search_path exists: create it first")
    elif allowed != "t":
        say(f"user {user} may not CREATE in schema {namespace}; as its owner, run")
        say(f'  GRANT CREATE ON SCHEMA "{namespace}" TO "{user}";')
    if not schema:
        for name in await others("SELECT 1 WHERE to_regclass('flow_run') IS NOT NULL"):
            say(
                f"this database is empty; did you mean `{name}`, with Prefect's tables?"
            )
    unbuilt(await rows(db, INVALID))


def unread_url(prefect):
    """Whether a PostgreSQL is in the environment that this Prefect does not read."""
    found = False
    for name in sorted(os.environ):
        meant = re.fullmatch(r"PREFECT_\w*DATABASE_CONNECTION_URL", name.upper())
        if meant and os.environ[name].lower().startswith("postgres"):
            say(f"{name} names a PostgreSQL; Prefect {prefect.version} uses SQLite:")
            found = True
    return found
