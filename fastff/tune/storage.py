"""Opens the storage of a search, a database or a journal file of Optuna's, for several processes at once.

SQLite files get settings with which processes can share them; journal files and database servers need none. Errors of a
storage become a DataError of one line.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.storages.journal import JournalFileBackend

from fastff.errors import ArgumentError, DataError
from fastff.system.paths import expanded

PATIENCE = 60  # seconds that a process waits for a SQLite file while others use it, for milliseconds each
SILENCE = 60  # seconds after which a server that says nothing is lost, and to it a client that holds others up


@contextlib.contextmanager
def open_study(storage: str, name: str) -> Iterator[optuna.Study]:
    """The study of this name in a storage; it is created if there is none. Used as a context, which closes the storage.

    storage: a database's URL, or the path of a journal file that ends in .log or .journal. Raises ArgumentError if it
    is neither, and DataError for errors of the storage, within the block as well.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shown = re.sub("(//[^/:@]*):[^/@]*@", r"\1:***@", storage)  # without the password
    store: Any = None
    try:
        try:
            storage = re.sub(
                r"^(sqlite(?:\+\w+)?:///)(~[^?]*)", lambda found: found[1] + str(expanded(found[2])), storage
            )
            if storage.endswith((".log", ".journal")):
                store = optuna.storages.JournalStorage(JournalFileBackend(str(expanded(storage))))
            else:
                store = _database(storage)
            study = optuna.create_study(storage=store, study_name=name, direction="maximize", load_if_exists=True)
        except sqlalchemy.exc.ArgumentError:
            raise ArgumentError(
                f"--storage: {shown!r}, want a database's URL such as sqlite:///study.db, or a file that ends in .log"
            ) from None
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{shown}: cannot be the storage: {_reason(error)}") from None
        yield study
    except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise DataError(f"{shown}: cannot be the storage: {_reason(error)}") from None
    finally:
        if isinstance(store, optuna.storages.RDBStorage):
            store.remove_session()
            store.engine.dispose()


def _database(url: str) -> optuna.storages.RDBStorage:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return _open_database(url)
        except (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError) as error:
            # Processes that start together may try to create the same tables; those that come second try again.
            passes = re.search("already exists|duplicate|unique|locked", _reason(error), re.IGNORECASE)
            if not passes or time.monotonic() > until:
                raise
        time.sleep(0.05)


def _open_database(url: str) -> optuna.storages.RDBStorage:
    server = sqlalchemy.engine.make_url(url)
    if server.get_backend_name() != "sqlite":
        limits = {name: limit for name, limit in _limits(server.get_driver_name()).items() if name not in server.query}
        # During a long trial the connection to the server may be cut; the ping notices that and connects again.
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "connect_args": limits})
    store = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
    store.engine.dispose()  # closes the connection that made the tables, which has not the settings below
    sqlalchemy.event.listen(store.engine, "connect", _prepare)
    sqlalchemy.event.listen(store.engine, "begin", _begin)
    store.engine.connect().close()
    return store


def _limits(driver: str) -> dict[str, Any]:
    """What has a driver notice that nobody answers, in its own words: without it a cut network holds it up for hours.

    The server is also told not to wait longer for a client that was cut off within a transaction, as its locks hold up
    all others: https://www.postgresql.org/docs/current/libpq-connect.html and runtime-config-client.html,
    https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_wait_timeout
    """
    if driver in ("psycopg", "psycopg2"):
        beats = {"keepalives_idle": SILENCE // 6, "keepalives_interval": SILENCE // 6, "keepalives_count": 5}
        served = f"-c idle_in_transaction_session_timeout={SILENCE}s -c tcp_user_timeout={SILENCE}s"
        return {"connect_timeout": SILENCE, "tcp_user_timeout": 1000 * SILENCE, **beats, "options": served}
    if driver in ("mysqldb", "pymysql"):
        served = f"SET SESSION wait_timeout = {SILENCE // 2}"  # shorter than others wait for its locks
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), SILENCE)
        return {**limits, "init_command": served}
    return {}


def _prepare(connection: Any, _: Any) -> None:
    """Have SQLite commit without waiting for the disk, which takes longer than an epoch of a small network.

    A process that is killed loses nothing by this; a power cut may lose the last trials.
    """
    connection.isolation_level = None  # else Python begins a transaction only at the first write
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Any) -> None:
    """Have each transaction lock the database when it begins, and not only at its first write.

    Otherwise SQLite may refuse the write ("database is locked"), or two processes may both read that a trial is in the
    queue and take it.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: BaseException) -> str:
    """The first line of the innermost error's message: the driver's own, without the SQL that SQLAlchemy adds."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
