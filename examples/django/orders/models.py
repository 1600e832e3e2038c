"""Orders: a table of Django's own schema."""

from django.db import models


class Order(models.Model):
    """An order for a page's offer."""

    page_slug = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField(default=1)
    confirmed = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
