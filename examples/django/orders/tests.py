"""The orders, tested as Django tests: run with `manage.py test`."""

from django.db import connection
from django.test import TestCase, TransactionTestCase

from orders.models import Order
from orders.tasks import confirm_order


class Orders(TestCase):
    """Each test in a transaction that is rolled back."""

    def test_an_order_is_confirmed_once(self) -> None:
        order = Order.objects.create(page_slug="home")
        assert confirm_order(order.pk)
        assert not confirm_order(order.pk)

    def test_the_tests_have_a_database_of_their_own(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            assert cursor.fetchone()[0].startswith("test_")


class Committed(TransactionTestCase):
    """Django empties every table after such a test."""

    def test_an_order_is_there_after_commit(self) -> None:
        Order.objects.create(page_slug="home")
        assert Order.objects.count() == 1
