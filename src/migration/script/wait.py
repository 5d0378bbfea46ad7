async def until_migrated(prefect):
    """The exit code, once the schema is at this head or newer, or never came."""
    limit = int(OPTIONS.get("wait-timeout", "540"))
    job = f"Job {OPTIONS['job']}" if "job" in OPTIONS else "the Job that migrates"
    begun, reported = time.monotonic(), None
    while True:
        try:
            db = await connect(prefect)
        except Exception as error:  # noqa: BLE001 (its text could show a password)
            if not await no_connection(error, prefect):
                say(f"no connection to the database ({type(error).__name__})")
            return 1
        try:
            schema = await schema_of(db)
            at = f"the schema is at {' '.join(schema)}" if schema else "no schema yet"
            if schema and set(schema) == prefect.heads:
                say(f"{at}, as Prefect {prefect.version} needs it")
                return 0
            ours = await is_there(db, "flow_run")
            if not prefect.known.issuperset(schema) and ours:
                say(f"{at}, newer than Prefect {prefect.version}")
                return int(OPTIONS.get("on-newer-schema") == "fail")
            if schema and not ours:
                at += ", another product's: give Prefect a database of its own"
        except Exception as error:  # noqa: BLE001 (as above)
            at = reason(error, prefect.host) or f"no answer ({type(error).__name__})"
        finally:
            with contextlib.suppress(Exception):
                await db.close(timeout=5)
        waited = time.monotonic() - begun
        if waited > limit:
            say(f"{at}; {job} has not migrated it within {limit} s")
            say(f"see that it ran with this image (Prefect {prefect.version})")
            return 1
        if reported is None or waited - reported >= 30:
            reported = waited
            say(f"{at}; waiting for {job} ({waited:.0f} of {limit} s)")
        await asyncio.sleep(2)


def wait():
    if "profile" in OPTIONS:
        os.environ["PREFECT_PROFILE"] = OPTIONS["profile"]
    try:
        prefect = quick() or Full()
    except Exception as error:  # noqa: BLE001 (its text could show a part of the URL)
        say(f"Prefect cannot be imported or set up ({type(error).__name__})")
        return 1
    if prefect.sqlite:
        if unread_url(prefect) and OPTIONS.get("on-sqlite") != "continue":
            say(f"it does not read that variable; {URLS[1]} works in all releases")
            return 1
        say("SQLite, which no Job of another pod can migrate: migrating it here")
        upgrade = ["-m", "prefect", "server", "database", "upgrade", "-y"]
        os.execv(sys.executable, [sys.executable, *upgrade])
    return asyncio.run(until_migrated(prefect))


# The first process of a container has no handlers unless it sets them.
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
sys.exit(wait())
