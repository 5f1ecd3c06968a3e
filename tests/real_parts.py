"""Real services for tests and benchmarks: PostgreSQL, MariaDB, Redis and nginx as plain processes.

Each starts in a temporary folder on a free loopback port, as an unprivileged user where we are
root. It is gone with its folder afterwards; when this process is killed, it dies too. What packages
start by themselves is never touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pymysql
import pytest

HOST = "127.0.0.1"
PACKAGES = {  # of Debian
    "initdb": "postgresql",
    "postgres": "postgresql",
    "mariadb-install-db": "mariadb-server",
    "mariadbd": "mariadb-server",
    "redis-server": "redis-server",
    "nginx": "nginx-light",
}
_USERS = ("nobody", "postgres", "daemon")  # the first that there is; databases refuse to be root
_OUT_OF_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_READY_S = 30.0
_STOP_S = 5.0
_ANSWER_S = 2.0
_POLL_S = 0.02
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Part:
    """A running service."""

    host: str
    port: int
    pid: int
    folder: Path  # all its files, its log among them

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


def program(name: str) -> str:
    """The path of a program; the newest of several PostgreSQLs.

    Raises:
        FileNotFoundError: it is not installed; says which Debian package has it.
    """
    versions = Path("/usr/lib/postgresql").glob("[0-9]*")
    newest_first = sorted(versions, key=lambda folder: float(folder.name), reverse=True)
    places = [*(str(folder / "bin") for folder in newest_first), *os.get_exec_path()]
    found = shutil.which(name, path=os.pathsep.join((*places, *_OUT_OF_PATH)))
    if found is None:
        raise FileNotFoundError(f"no {name} on this machine: apt-get install {PACKAGES[name]}")
    return found


def missing(part: str) -> str | None:
    """Why a part of `PARTS` cannot be started here, or None; in CI it must be there."""
    try:
        for name in PARTS[part].programs:
            program(name)
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        return str(error)
    return None


def needs(part: str) -> None:
    """Skip the test where that part is missing; in CI that is a failure."""
    why = missing(part)
    if why is not None:
        pytest.skip(why)


# --- the services ---------------------------------------------------------------------------------


@contextlib.contextmanager
def postgresql() -> Iterator[Part]:
    """PostgreSQL; user and database are `postgres`, there is no password."""
    initdb, postgres = program("initdb"), program("postgres")

    def prepare(folder: Path) -> None:
        plain = ["--no-sync", "--locale=C", "--encoding=UTF8"]
        _run([initdb, "-D", "data", "-U", "postgres", "--auth=trust", *plain], folder)

    def command(folder: Path, port: int) -> list[str]:
        settings = {
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [postgres, "-D", "data", "-h", HOST, "-p", str(port), *options]

    # SIGTERM would wait for clients to leave. Even so one that came at that very moment and says
    # nothing is waited for; its process leaves when the postmaster is killed.
    with _standing("PostgreSQL", command, _postgresql_answers, prepare, signal.SIGINT) as part:
        yield part


@contextlib.contextmanager
def mariadb() -> Iterator[Part]:
    """MariaDB; the user is `root`, there is no password and no database but its own."""
    install, mariadbd = program("mariadb-install-db"), program("mariadbd")

    def prepare(folder: Path) -> None:
        plain = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        _run([install, "--no-defaults", f"--datadir={folder / 'data'}", *plain], folder)

    def command(folder: Path, port: int) -> list[str]:
        return [
            mariadbd,
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--bind-address={HOST}",
            f"--port={port}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M",
        ]

    with _standing("MariaDB", command, _mariadb_answers, prepare) as part:
        yield part


@contextlib.contextmanager
def redis() -> Iterator[Part]:
    """Redis that keeps everything in memory."""
    server = program("redis-server")

    def command(folder: Path, port: int) -> list[str]:
        nothing_kept = ["--save", "", "--appendonly", "no"]
        return [server, "--port", str(port), "--bind", HOST, "--dir", str(folder), *nothing_kept]

    def answers(port: int) -> bool:
        return _says(port, b"PING\r\n", b"+PONG")

    with _standing("Redis", command, answers) as part:
        yield part


@contextlib.contextmanager
def nginx(locations: str = 'location / { return 200 "well\\n"; }') -> Iterator[Part]:
    """nginx in one process, with these `location` blocks in its only server."""
    server = program("nginx")

    def command(folder: Path, port: int) -> list[str]:
        (folder / "nginx.conf").write_text(_NGINX % {"port": port, "locations": locations})
        return [server, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    def answers(port: int) -> bool:
        return _says(port, b"HEAD / HTTP/1.0\r\n\r\n", b"HTTP/1.")

    with _standing("nginx", command, answers) as part:
        yield part


_NGINX = f"""\
daemon off;
master_process off;
pid pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen {HOST}:%(port)d;
    %(locations)s
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    start: Callable[[], AbstractContextManager[Part]]
    programs: tuple[str, ...]


PARTS: Mapping[str, _Kind] = {
    "postgresql": _Kind(postgresql, ("initdb", "postgres")),
    "mariadb": _Kind(mariadb, ("mariadb-install-db", "mariadbd")),
    "redis": _Kind(redis, ("redis-server",)),
    "nginx": _Kind(nginx, ("nginx",)),
}

# --- are they there? ------------------------------------------------------------------------------


def _postgresql_answers(port: int) -> bool:
    asked = f"host={HOST} port={port} user=postgres sslmode=disable connect_timeout=2"
    try:
        psycopg.connect(asked).close()
    except psycopg.OperationalError:
        return False
    return True


def _mariadb_answers(port: int) -> bool:
    try:
        pymysql.connect(host=HOST, port=port, user="root", connect_timeout=_ANSWER_S).close()
    except (pymysql.MySQLError, OSError):
        return False
    return True


def _says(port: int, question: bytes, wanted: bytes) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_S) as client:
            client.sendall(question)
            return client.recv(len(wanted)) == wanted
    except OSError:
        return False


# --- processes and folders ------------------------------------------------------------------------


@contextlib.contextmanager
def _standing(
    what: str,
    command: Callable[[Path, int], Sequence[str]],
    answers: Callable[[int], bool],
    prepare: Callable[[Path], None] = lambda _: None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[Part]:
    with tempfile.TemporaryDirectory(prefix="cb-part-") as name:
        folder = Path(name)
        _give_away(folder)
        prepare(folder)
        process, port = _started(what, folder, command, answers, stop)
        try:
            yield Part(HOST, port, process.pid, folder)
        finally:
            _end(process, stop)


def _started(
    what: str,
    folder: Path,
    command: Callable[[Path, int], Sequence[str]],
    answers: Callable[[int], bool],
    stop: signal.Signals,
) -> tuple[subprocess.Popen[bytes], int]:
    give_up_s = time.monotonic() + _READY_S
    for _ in range(_TRIES):  # another process may take the port in between
        port = _free_port()
        process = _popen(command(folder, port), folder)
        try:
            while process.poll() is None and time.monotonic() < give_up_s:
                if answers(port) and process.poll() is None:
                    return process, port
                time.sleep(_POLL_S)
        except BaseException:
            _end(process, stop)
            raise
        _end(process, stop)
    raise RuntimeError(f"{what} did not start; the end of its log:\n{_log_of(folder)}")


def _run(command: Sequence[str], folder: Path) -> None:
    process = _popen(command, folder)
    try:
        code = process.wait(_READY_S)
    finally:
        _end(process, signal.SIGTERM)
    if code:
        raise RuntimeError(
            f"{command[0]} ended with {code}; the end of its log:\n{_log_of(folder)}"
        )


def _popen(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*_restrained(), *command],
            cwd=folder,  # ours may be closed to that user
            env={**os.environ, "HOME": str(folder), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours: we end it
        )


def _restrained() -> list[str]:
    """What a command is started with: it dies with the thread that starts it, and is never root."""
    words = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        user = _unprivileged()
        words += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return words


def _give_away(folder: Path) -> None:
    if os.geteuid() == 0:
        user = _unprivileged()
        os.chown(folder, user.pw_uid, user.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError(f"found none of the users {', '.join(_USERS)}; wanted one to run services as")


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its children; not reaped, so still its group
        process.wait()


def _log_of(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
