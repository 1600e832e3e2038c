"""pgbouncer.ini and its auth file: what they contain, by PgBouncer version."""

import configparser
import re

import pytest
import yaml

import settings as config
from components.pgbouncer.ini import CONTAINER_VERSION, ClientTls, PgBouncerIni, ServerTls, auth_file
from settings import DATABASE, STATS_USER, PoolSettings, Product, Settings
from tests.unit.conftest import full_config, local_state

PRODUCTS = (
    Product(name="payload", schema="payload", pool=PoolSettings(size=15, reserve=5)),
    Product(name="django", schema="django", pool=PoolSettings(size=20, reserve=4)),
)
VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"


def ini(**changes: object) -> PgBouncerIni:
    values: dict[str, object] = {
        "version": (1, 25),
        "server_host": "db.example.com",
        "listen_address": "0.0.0.0",  # noqa: S104
        "products": PRODUCTS,
        "max_client_connections": 1000,
        "auth_file_path": "/etc/pgbouncer/userlist.txt",
        "server_tls": ServerTls(ca_path="/etc/ca.pem"),
    }
    return PgBouncerIni(**(values | changes))  # type: ignore[arg-type]


def parsed(rendered: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",), delimiters=("=",), strict=True)
    parser.read_string(rendered)
    return parser


def pairs(line: str) -> dict[str, str]:
    return dict(item.split("=") for item in line.split())


def test_it_pools_by_transaction_and_accepts_only_scram() -> None:
    settings = parsed(ini().render())["pgbouncer"]
    assert settings["pool_mode"] == "transaction"
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["auth_file"] == "/etc/pgbouncer/userlist.txt"
    assert "auth_user" not in settings
    assert "auth_query" not in settings
    assert "auth_hba_file" not in settings
    assert (settings["listen_addr"], settings["listen_port"], settings["unix_socket_dir"]) == ("0.0.0.0", "6432", "")  # noqa: S104
    assert settings["max_client_conn"] == "1000"
    assert settings["admin_users"] == ""


def test_one_database_and_no_forced_user() -> None:
    databases = parsed(ini(server_port=5433).render())["databases"]
    assert list(databases) == [DATABASE]
    assert pairs(databases[DATABASE]) == {
        "host": "db.example.com",
        "port": "5433",
        "dbname": DATABASE,
        "max_db_connections": "44",
    }


def test_the_options_parameter_is_refused_and_not_ignored() -> None:
    ignored = parsed(ini().render())["pgbouncer"]["ignore_startup_parameters"]
    assert [name.strip() for name in ignored.split(",")] == ["extra_float_digits"]


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        ((1, 18), {"max_user_connections": "20"}),
        ((1, 22), {"max_user_connections": "20"}),
        ((1, 23), {"max_user_connections": "20", "pool_size": "15"}),
        ((1, 24), {"max_user_connections": "20", "pool_size": "15", "reserve_pool_size": "5"}),
        ((1, 25), {"max_user_connections": "20", "pool_size": "15", "reserve_pool_size": "5"}),
    ],
)
def test_each_product_has_its_share(version: tuple[int, int], payload: dict[str, str]) -> None:
    users = parsed(ini(version=version).render())["users"]
    assert list(users) == ["payload_user", "django_user"]
    assert pairs(users["payload_user"]) == payload
    assert pairs(users["django_user"])["max_user_connections"] == "24"


def test_a_version_without_pool_sizes_per_user_gets_the_largest_one() -> None:
    settings = parsed(ini(version=(1, 18)).render())["pgbouncer"]
    assert (settings["default_pool_size"], settings["reserve_pool_size"]) == ("20", "5")


@pytest.mark.parametrize(("key", "since"), [("max_prepared_statements", (1, 21)), ("client_idle_timeout", (1, 24))])
def test_keys_come_with_the_version_that_knows_them(key: str, since: tuple[int, int]) -> None:
    assert key not in parsed(ini(version=(1, since[1] - 1)).render())["pgbouncer"]
    assert int(parsed(ini(version=since).render())["pgbouncer"][key]) > 0


def test_the_server_is_verified_by_name() -> None:
    settings = parsed(ini().render())["pgbouncer"]
    assert settings["server_tls_sslmode"] == "verify-full"
    assert settings["server_tls_ca_file"] == "/etc/ca.pem"
    assert parsed(ini(server_tls=None).render())["pgbouncer"]["server_tls_sslmode"] == "disable"


def test_clients_use_tls_where_there_is_a_certificate() -> None:
    assert parsed(ini().render())["pgbouncer"]["client_tls_sslmode"] == "disable"
    settings = parsed(ini(client_tls=ClientTls(certificate_path="/tls/crt", key_path="/tls/key")).render())["pgbouncer"]
    assert settings["client_tls_sslmode"] == "require"
    assert (settings["client_tls_cert_file"], settings["client_tls_key_file"]) == ("/tls/crt", "/tls/key")


def test_the_stats_user_is_optional() -> None:
    assert parsed(ini().render())["pgbouncer"]["stats_users"] == ""
    assert parsed(ini(stats_user=True).render())["pgbouncer"]["stats_users"] == STATS_USER


def test_logs_go_to_a_file_only_with_a_path() -> None:
    assert not {"logfile", "pidfile"} & set(parsed(ini().render())["pgbouncer"])
    settings = parsed(ini(log_path="/l", pid_path="/p").render())["pgbouncer"]
    assert (settings["logfile"], settings["pidfile"]) == ("/l", "/p")


def test_the_same_input_gives_the_same_text() -> None:
    assert ini().render() == ini().render()
    assert ini().render().endswith("\n")


def test_comments_are_on_their_own_lines() -> None:
    # PgBouncer has no comments after a value: they would be part of it.
    for line in ini(version=(1, 18)).render().splitlines():
        assert line.startswith(";") or not re.search(r"[;#]", line)


def test_a_host_that_is_no_plain_name_is_quoted() -> None:
    assert "host='<known at deploy>' port=" in ini(server_host="<known at deploy>").render()


def test_the_descriptors_cover_clients_and_servers() -> None:
    assert ini().server_connections == 44
    assert ini().file_descriptors == 1000 + 44 + 128


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": (1, 17)}, "too old"),
        ({"products": ()}, "no product"),
        ({"server_host": "a\nadmin_users = x"}, "line break"),
        ({"auth_file_path": "/a\nadmin_users = x"}, "line break"),
    ],
)
def test_what_pgbouncer_would_misread_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ini(**changes)


def test_the_auth_file_holds_verifiers_in_order() -> None:
    assert auth_file({"b": VERIFIER, "a": VERIFIER}) == f'"a" "{VERIFIER}"\n"b" "{VERIFIER}"\n'


@pytest.mark.parametrize(
    "verifiers", [{"a": "plain"}, {"a": "md5" + "0" * 32}, {"a": ""}, {'a"': VERIFIER}, {"a": VERIFIER + "\n"}]
)
def test_the_auth_file_refuses_anything_else(verifiers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"verifier"):
        auth_file(verifiers)


# --- a local stack's --------------------------------------------------------------------------------------------------


@pytest.fixture
def local() -> Settings:
    return config.load("dev", full_config("dev"), local={**local_state(), "databasePort": 5433, "pgbouncerPort": 6433})


def test_on_this_machine_it_uses_loopback_and_the_state_files_ports(local: Settings) -> None:
    text = PgBouncerIni.for_local(local, auth_file_path="/u", log_path="/l", pid_path="/p", version=(1, 18)).render()
    ini = parsed(text)
    server = pairs(ini["databases"][DATABASE])
    assert (server["host"], server["port"]) == ("127.0.0.1", "5433")
    listens = ini["pgbouncer"]
    assert (listens["listen_addr"], listens["listen_port"]) == ("127.0.0.1", "6433")
    assert (listens["auth_file"], listens["logfile"], listens["pidfile"]) == ("/u", "/l", "/p")
    assert listens["server_tls_sslmode"] == "disable"
    assert listens["max_client_conn"] == str(local.pgbouncer.max_client_connections)
    assert list(ini["users"]) == [product.login_role for product in local.products.values()]
    assert "client_idle_timeout" not in listens
    assert list(ini["databases"]) == [DATABASE, "test_lightwave_platform"]
    assert pairs(ini["databases"]["test_lightwave_platform"]) == {
        "host": "127.0.0.1",
        "port": "5433",
        "dbname": "test_lightwave_platform",
        "max_db_connections": "25",
    }


def test_in_a_container_it_uses_the_usual_ports_and_the_compose_files_names(local: Settings) -> None:
    ini = parsed(PgBouncerIni.for_local(local, auth_file_path="/u", in_container=True).render())
    compose = yaml.safe_load((config.ROOT / "local/compose.yaml").read_text())["services"]
    server = pairs(ini["databases"][DATABASE])
    assert server["host"] in compose
    for name, port in (("postgres", server["port"]), ("pgbouncer", ini["pgbouncer"]["listen_port"])):
        (published,) = compose[name]["ports"]
        assert published.endswith(f":{port}")
    assert "client_idle_timeout" in ini["pgbouncer"]


def test_the_containers_version_is_the_compose_files() -> None:
    compose = yaml.safe_load((config.ROOT / "local/compose.yaml").read_text())
    found = re.search(r":v(\d+)\.(\d+)\.", compose["services"]["pgbouncer"]["image"])
    assert found
    assert tuple(map(int, found.groups())) == CONTAINER_VERSION


def test_a_stack_on_rds_has_no_local_one() -> None:
    with config.offline():
        prod = config.load("prod", full_config("prod"))
    with pytest.raises(ValueError, match="stack prod has no local PgBouncer"):
        PgBouncerIni.for_local(prod, auth_file_path="/u")
