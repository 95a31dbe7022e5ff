"""Where the trials of a search are kept: any storage of Optuna's, open to several processes at once.

What the storage cannot do becomes one line. A SQLite file is made fit for sharing here; a journal file and a database
server are as they come.
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

PATIENCE = 60  # seconds that a process waits for its turn at a SQLite file; each takes milliseconds


@contextlib.contextmanager
def open_study(storage: str, name: str) -> Iterator[optuna.Study]:
    """The study of this name in a storage, a new one where there is none; what the storage cannot do becomes DataError.

    storage: a database's URL, or the path of a journal file that ends in .log or .journal. Raises ArgumentError for
    what is neither.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shown = re.sub("(//[^/:@]*):[^/@]*@", r"\1:***@", storage)  # without the password
    store: Any = None
    try:
        try:
            if storage.endswith((".log", ".journal")):
                store = optuna.storages.JournalStorage(JournalFileBackend(storage))
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
            # Of processes that start together each makes the tables that it does not see yet.
            passes = re.search("already exists|duplicate|unique|locked", _reason(error), re.IGNORECASE)
            if not passes or time.monotonic() > until:
                raise
        time.sleep(0.05)


def _open_database(url: str) -> optuna.storages.RDBStorage:
    if sqlalchemy.engine.make_url(url).get_backend_name() != "sqlite":
        # A server's connection may be cut in the hours of a trial; the ping has it made anew.
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    store = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
    store.engine.dispose()  # the connection that made the tables
    sqlalchemy.event.listen(store.engine, "connect", _prepare)
    sqlalchemy.event.listen(store.engine, "begin", _begin)
    store.engine.connect().close()
    return store


def _prepare(connection: Any, _: Any) -> None:
    """Have SQLite commit without waiting for the disk: an epoch of a small network takes less time than that.

    A killed process loses nothing by it. A power cut may lose the last trials, not the others.
    """
    connection.isolation_level = None  # Python would begin a transaction at the first write only
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Any) -> None:
    """Have each transaction wait for its turn when it begins.

    One that only reads at first can be refused when it wants to write ("database is locked"), and two that take the
    same trial from the queue would both have read that it waits.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: BaseException) -> str:
    """The innermost message, of the driver and not of the layers above it, without the SQL that follows."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
