"""The API."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from lightwave.payload import PayloadCMSClient
from orders.models import Order
from orders.tasks import confirm_order


def _shown(order: Order) -> dict[str, Any]:
    return {"id": order.pk, "page": order.page_slug, "quantity": order.quantity, "confirmed": order.confirmed}


@require_GET
def health(_: HttpRequest) -> HttpResponse:
    """Answers while the process serves requests. The database has no part in it: its failure must not restart pods."""
    return HttpResponse("ok\n", content_type="text/plain")


@csrf_exempt
@require_http_methods(["GET", "POST"])
def orders(request: HttpRequest) -> JsonResponse:
    """Lists the latest orders; creates one and confirms it in the background."""
    if request.method == "GET":
        return JsonResponse({"orders": [_shown(order) for order in Order.objects.order_by("-id")[:50]]})
    try:
        body = json.loads(request.body)
        created = Order.objects.create(page_slug=str(body["page"]), quantity=int(body.get("quantity", 1)))
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": 'expected: {"page": "<slug>", "quantity": <number>}'}, status=400)
    confirm_order.delay(created.pk)
    return JsonResponse(_shown(created), status=201)


@require_GET
def order(_: HttpRequest, order_id: int) -> JsonResponse:
    """One order."""
    return JsonResponse(_shown(get_object_or_404(Order, pk=order_id)))


@require_GET
async def page(_: HttpRequest, slug: str) -> JsonResponse:
    """A published page, read from Payload."""
    found = await PayloadCMSClient().get_page_by_slug(slug)
    return JsonResponse(found or {"error": "no such page"}, status=200 if found else 404)


@require_GET
async def posts(_: HttpRequest) -> JsonResponse:
    """The latest published posts, read from Payload."""
    return JsonResponse({"posts": await PayloadCMSClient().get_latest_posts()})
