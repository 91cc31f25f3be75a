"""Orders on Django, whose status is a field of a model: ``gunicorn --workers 4 examples.web.django_app:app``.

Settings, model and views are in this one file. ``python -m examples.web.django_app`` creates the table.
"""

from __future__ import annotations

import os
from functools import partial

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

import spex_shards as spex

settings.configure(
    SECRET_KEY="an example has none",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
            "OPTIONS": {"timeout": 60, "transaction_mode": "IMMEDIATE"},
        }
    },
    LOGGING_CONFIG=None,
)
django.setup()
spex.configure(manager="sharded")


class OrderStatus(spex.Specification):
    """The status of an order: it is paid, and then shipped or refunded."""

    name = "shop.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "refund", "refunded")]
    judge = "run"


class Order(models.Model):
    """An order."""

    number = models.CharField(max_length=40, unique=True)
    status = models.CharField(max_length=10, default="new")

    class Meta:
        """The model belongs to no installed application."""

        app_label = "shop"

    def become(self, action: str, status: str) -> None:
        """Change the status, and observe the change once it is committed."""
        self.status = status
        self.save()
        transaction.on_commit(partial(spex.transition, ("order", self.number), action, status))


STATES = {"pay": "paid", "ship": "shipped", "refund": "refunded"}


@transaction.atomic
def create(_: HttpRequest, number: str) -> JsonResponse:
    """Create an order."""
    order = Order.objects.create(number=number)
    transaction.on_commit(partial(spex.init_instance, OrderStatus, ("order", number)))
    return JsonResponse({"state": order.status}, status=201)


@transaction.atomic
def act(_: HttpRequest, number: str, action: str) -> JsonResponse:
    """Pay, ship or refund an order."""
    order = Order.objects.get(number=number)
    order.become(action, STATES[action])
    return JsonResponse({"state": order.status})


urlpatterns = [path("orders/<number>", create), path("orders/<number>/<action>", act)]
app = WSGIHandler()

if __name__ == "__main__":
    with connection.schema_editor() as editor:
        editor.create_model(Order)
