"""The API's routes."""

from django.urls import path

from orders import views

urlpatterns = [
    path("healthz", views.health),
    path("api/orders", views.orders),
    path("api/orders/<int:order_id>", views.order),
    path("api/pages/<slug:slug>", views.page),
    path("api/posts", views.posts),
]
