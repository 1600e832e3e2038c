"""Alertmanager's configuration: every alert goes to all who are named, critical ones again each hour."""

from typing import Any

from settings import EmailSettings, OwnMonitoringSettings

WEBHOOK_URL = "url"
EMAIL_PASSWORD = "password"  # noqa: S105 (a name)
"""Keys of the Secrets of a webhook and of a mail server, and the names of their files."""
_RECEIVER = "on-call"


def secrets_of(settings: OwnMonitoringSettings) -> dict[str, dict[str, str]]:
    """What Alertmanager reads at each notification: the content of a Secret, by `webhook` and `email`."""
    webhook, email = settings.webhook_url, settings.email
    return {
        **({"webhook": {WEBHOOK_URL: webhook.get_secret_value()}} if webhook else {}),
        **({"email": {EMAIL_PASSWORD: email.password.get_secret_value()}} if email else {}),
    }


def secret_folder(route: str) -> str:
    """Where the Secret of `webhook` or `email` is mounted."""
    return f"/etc/alertmanager-{route}"


def alertmanager_config(settings: OwnMonitoringSettings) -> dict[str, Any]:
    """alertmanager.yml, as JSON: YAML is a superset of it. It holds no secret."""
    # Secrets are files that it reads at each notification, so a changed one needs no restart.
    webhook = {"url_file": f"{secret_folder('webhook')}/{WEBHOOK_URL}", "send_resolved": True}
    return {
        "route": {
            "receiver": _RECEIVER,
            "group_by": ["alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [{"matchers": ['severity="critical"'], "receiver": _RECEIVER, "repeat_interval": "1h"}],
        },
        "receivers": [
            {
                "name": _RECEIVER,
                **({"webhook_configs": [webhook]} if settings.webhook_url else {}),
                **({"email_configs": [_email(settings.email)]} if settings.email else {}),
            }
        ],
    }


def _email(email: EmailSettings) -> dict[str, Any]:
    return {
        "to": email.to,
        "from": email.sender,
        "smarthost": f"{email.host}:{email.port}",
        "auth_username": email.username,
        "auth_password_file": f"{secret_folder('email')}/{EMAIL_PASSWORD}",
        # On 465 it speaks TLS from the start, and no STARTTLS.
        "require_tls": email.port != 465,
        "send_resolved": True,
    }
