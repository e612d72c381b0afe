"""Whatever is given as a store's URL, the answer is a backend or an error of ours, and a password is never shown."""

from __future__ import annotations

import logging
import shlex
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from kapusta import Kapusta, KapustaError
from kapusta._errors._masked import masked
from kapusta.backend import BaseCRUD, StoreError, StoreNotMigratedError, StoreTooNewError, StoreUrlError
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.owned import free_port

FUZZ = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
PASSWORD = "hunter2"
SCHEMES = [
    *("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgres"),
    *(
        "mysql",
        "mysql+aiomysql",
        "mariadb",
        "mariadb+aiomysql",
        "memory",
        "redis",
        "SQLITE",
        "",
        " ",
        "ü",
        "a b",
    ),
]
PIECES = st.one_of(
    st.sampled_from(
        [*SCHEMES, "://", ":", "/", "//", "///", "@", "?", "&", "=", "#", "[", "]", "[::1]", "%", "%zz"]
    ),
    st.sampled_from(
        ["host", "5432", ":5432", ":port", "database", ":memory:", "file:", "mode=memory", "\0", "\ud800"]
    ),
    st.text(max_size=5),
)
URLS = st.one_of(
    st.text(),
    st.builds("".join, st.lists(PIECES, max_size=12)),
    st.builds("{}://{}".format, st.sampled_from(SCHEMES), st.text()),
    st.builds("{}://{}".format, st.sampled_from(SCHEMES), st.builds("".join, st.lists(PIECES, max_size=12))),
)


def answer_to(url: object) -> BaseCRUD | KapustaError:
    """What a Kapusta makes of a URL, without opening it; any other error than ours fails the test."""
    try:
        return Kapusta(crud=url).crud  # type: ignore[arg-type]  # that is the point
    except KapustaError as error:
        return error


@FUZZ
@given(URLS)
@example("postgresql://[::1/x")
@example("postgresql://u:p@host:port/x")
@example("memory://a b")
@example("sqlite:///file:a?mode=memory&uri=true")
def test_any_text_leads_to_a_backend_or_to_an_error_of_ours(url: str) -> None:
    """A misspelt URL is an error that names it, and never a ValueError from within some parser."""
    answer = answer_to(url)

    assert isinstance(answer, (BaseCRUD, KapustaError))
    if isinstance(answer, KapustaError):
        assert len(str(answer)) > 30


WITH_PASSWORD = st.builds(
    "{}{}{}{}{}{}{}@{}".format,
    st.sampled_from([*SCHEMES, "postgresql", "postgresql+asyncpg", "mysql+aiomysql"]),
    st.sampled_from(["://", "://", "://", ":/", "//", ":", "", ":// "]),
    st.sampled_from(["", "user", "us er", "us@er", "ü", "u%40"]),
    st.sampled_from([":", "::"]),
    st.text(alphabet=st.sampled_from("@:/?#[]%&= aü;\\\n'\""), max_size=4),
    st.just(PASSWORD),
    st.text(alphabet=st.sampled_from("@:/?#[]%&= aü;\\\n'\""), max_size=4),
    st.one_of(
        st.sampled_from(
            ["host/db", "host:5432/db", "host:port/db", "[::1]:1/db", "[::1", "", ":", "/db?charset=utf8"]
        ),
        st.builds("".join, st.lists(PIECES, max_size=6)),
    ),
)
PARAMETERS = st.builds(
    "{}://{}host/db?{}{}={}{}".format,
    st.sampled_from(SCHEMES),
    st.sampled_from(["", "user@", "user:***@"]),
    st.sampled_from(["", "charset=utf8&", "a=b;"]),
    st.sampled_from(
        ["password", "PASSWORD", "passwd", "pwd", "sslpassword", "client_secret", "auth_token", "api_key"]
    ),
    st.just(PASSWORD),
    st.sampled_from(["", "&x=y", "#f", "@"]),
)
WITHOUT_HOST = st.builds(
    "{}://user:{}{}".format,
    st.sampled_from(SCHEMES[:11]),
    st.sampled_from([PASSWORD, f"{PASSWORD}/x", f"a/{PASSWORD}"]),
    st.sampled_from(["", "/db", "?x=y"]),
)


def said_by(answer: BaseCRUD | KapustaError) -> str:
    """All that a person, a log or an error tracker gets to see of it."""
    if isinstance(answer, BaseCRUD):
        return f"{answer!r} {answer} {answer.capabilities!r}"
    shown = "".join(traceback.format_exception(answer))
    return f"{shown} {answer!r} {answer} {vars(answer)!r} {answer.__cause__!r}"


@FUZZ
@given(st.one_of(WITH_PASSWORD, PARAMETERS))
@example(f"postgresql://u:{PASSWORD}@host:port/db")
@example(f"postgresql://u:a@{PASSWORD}@host:port/db")
@example(f"postgresql:/u:a/{PASSWORD}@host")
@example(f"postgresql:/{PASSWORD}@host")
@example(f"u:{PASSWORD}@host://x")
@example(f"sqlite://u:{PASSWORD}@/x")
def test_a_password_is_in_no_error(url: str) -> None:
    """Neither in its text, its facts, its cause nor its traceback; whatever of the URL is wrong, and however."""
    assert PASSWORD not in said_by(answer_to(url))


@FUZZ
@given(st.one_of(WITH_PASSWORD, PARAMETERS, WITHOUT_HOST))
@example(f"sqlite://us@er:'{PASSWORD} '@host/db")
def test_what_is_shown_of_a_url_has_no_password(url: str) -> None:
    """Also where nothing is wrong with it: each error that takes a URL hides it, whoever's backend raises it."""
    errors = [
        StoreUrlError(url=url, problem="is", remedy="Do."),
        StoreTooNewError(store=url, found="9", needs=9, reads=1),
        StoreNotMigratedError(store=url, found=None, needs="1", command=f"python -m x '{url}'"),
    ]

    assert PASSWORD not in masked(url)
    assert masked(masked(url)) == masked(url)
    for error in errors:
        assert PASSWORD not in f"{error} {vars(error)!r}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://user:pass@host:5432/db", "postgresql+asyncpg://user:***@host:5432/db"),
        ("postgresql://user@host/db?ssl=require", "postgresql://user@host/db?ssl=require"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql://host/db?password=x&ssl=require", "postgresql://host/db?password=***&ssl=require"),
        ("postgresql://user:pass", "postgresql://user:***"),
        ("sqlite+aiosqlite:////var/lib/tasks.db", "sqlite+aiosqlite:////var/lib/tasks.db"),
        ("sqlite:///C:\\tasks.db", "sqlite:///C:\\tasks.db"),
        ("sqlite:///file:tasks.db?mode=ro&uri=true", "sqlite:///file:tasks.db?mode=ro&uri=true"),
        ("memory://name", "memory://name"),
        ("tasks.db", "tasks.db"),
        ("", ""),
    ],
)
def test_what_is_no_secret_is_shown(url: str, shown: str) -> None:
    """Whoever reads the error still sees which URL it was."""
    assert masked(url) == shown


@pytest.mark.parametrize(
    "url",
    ["postgresql+asyncpg://user@host:5432/db", "postgresql://user:***@host/my tasks", "sqlite:///it's.db"],
)
def test_the_command_in_an_error_can_be_typed(url: str) -> None:
    """Its words are masked, not the whole: what names the store is still a URL, and what surrounds it is there."""
    words = ["python", "-m", "kapusta_sqlalchemy", "upgrade", url, "--table-prefix", "my tasks_"]

    error = StoreNotMigratedError(store=url, found=None, needs="1", command=shlex.join(words))

    assert shlex.split(error.command) == words


@pytest.mark.parametrize(
    "crud", [f"postgresql://u:{PASSWORD}@host/db".encode(), make_url(f"postgresql://u:{PASSWORD}@host/db")]
)
def test_what_is_no_text_is_refused_without_its_password(crud: object) -> None:
    """Bytes, and a URL of SQLAlchemy's where a backend belongs."""
    said = said_by(answer_to(crud))

    assert "AlchemyCRUD(url)" in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{PASSWORD}@host:port/db",
        f"postgresql+asyncpg://user:{PASSWORD}",
        f"mysql://user:{PASSWORD}@host:port/db?charset=utf8",
        f"mariadb+aiomysql://user:x@{PASSWORD}@host:port",
        f"sqlite://user:{PASSWORD}@host:port/:memory:",
        f"sqlite+aiosqlite://user:{PASSWORD}@/no/such/folder/tasks.db",
        f"sqlite://user:{PASSWORD}@/:memory:",
        f"sqlite:///:memory:?password={PASSWORD}",
    ],
)
async def test_a_url_that_is_read_at_the_start_is_refused_without_its_password(url: str) -> None:
    """A handle is made of it, so that an application can be imported; what is wrong with it is said when it starts."""
    crud = AlchemyCRUD(url)

    with pytest.raises(StoreUrlError) as caught:
        await crud.startup()

    assert PASSWORD not in said_by(caught.value) + said_by(crud)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What any library logs at any level, with whatever comes with it."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "mysql+aiomysql"])
async def test_a_database_that_is_not_there_is_said_without_the_password(
    scheme: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    """The handle, the error of its start and its whole traceback, and the log of the worker that tries again."""
    kapusta = Kapusta(f"{scheme}://user:{PASSWORD}@127.0.0.1:{free_port()}/db")

    with pytest.raises(StoreError) as caught:
        await kapusta.startup()
    await kapusta.shutdown()

    assert isinstance(kapusta.crud, AlchemyCRUD)
    assert PASSWORD not in said_by(caught.value) + said_by(kapusta.crud)
    assert all(PASSWORD not in f"{vars(record)!r}" for record in everything_logged.records)


async def test_a_wrong_password_is_not_repeated(
    postgres_url: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    """A server's own refusal passes through: what it says, and what we say of it, names the user alone."""
    url = make_url(postgres_url).set(username="nobody_here", password=PASSWORD)
    kapusta = Kapusta(url.render_as_string(hide_password=False))

    with pytest.raises(StoreError) as caught:
        await kapusta.startup()
    await kapusta.shutdown()

    assert "nobody_here" in str(caught.value)
    assert PASSWORD not in said_by(caught.value)
    assert all(PASSWORD not in f"{vars(record)!r}" for record in everything_logged.records)
