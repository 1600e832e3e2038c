"""The test runner: in the platform's test database, which `make up` makes, and never in the service's own data."""

import warnings
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test.runner import DiscoverRunner


class Runner(DiscoverRunner):
    """Keeps the test database: the service's role may not create one, so it runs in one process as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "keepdb": True, "parallel": 1})

    def setup_databases(self, **options: Any) -> list[tuple[Any, str, bool]]:
        """Raises ImproperlyConfigured where the tests would run in the service's own database."""
        for connection in connections.all():
            name, tested = connection.settings_dict["NAME"], connection.settings_dict["TEST"]["NAME"]
            if not tested or tested == name:
                raise ImproperlyConfigured(
                    f"tests would run in {name}, the service's own data; DATABASE_TEST_NAME must name another database,"
                    " and make env SERVICE=django writes it for a local stack"
                )
        # The pooler serves no database `postgres`, where Django looks first whether the test database exists.
        warnings.filterwarnings("ignore", "Normally Django will use a connection to the 'postgres' database")
        return super().setup_databases(**options)
