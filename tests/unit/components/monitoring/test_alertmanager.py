"""Alertmanager's configuration: who is notified, and how."""

import json
from typing import Any

import pytest

from components.monitoring.alertmanager import alertmanager_config, secrets_of
from settings import OwnMonitoringSettings
from tests.configs import EMAIL, MONITORING


def given(**changes: Any) -> OwnMonitoringSettings:
    return OwnMonitoringSettings.model_validate_json(json.dumps({**MONITORING, **changes}))


def test_a_webhook_and_e_mail_get_every_alert() -> None:
    (receiver,) = alertmanager_config(given(email=EMAIL))["receivers"]
    assert receiver["webhook_configs"] == [{"url_file": "/etc/alertmanager-webhook/url", "send_resolved": True}]
    assert receiver["email_configs"] == [
        {
            "to": "on-call@example.com",
            "from": "alerts@example.com",
            "smarthost": "smtp.example.com:587",
            "auth_username": "alerts",
            "auth_password_file": "/etc/alertmanager-email/password",
            "require_tls": True,
            "send_resolved": True,
        }
    ]
    assert secrets_of(given(email=EMAIL)) == {
        "webhook": {"url": MONITORING["webhookUrl"]},
        "email": {"password": EMAIL["password"]},
    }


@pytest.mark.parametrize(("changes", "kind"), [({}, "webhook"), ({"webhookUrl": None, "email": EMAIL}, "email")])
def test_one_of_them_is_enough(changes: dict[str, Any], kind: str) -> None:
    (receiver,) = alertmanager_config(given(**changes))["receivers"]
    assert receiver.keys() == {"name", f"{kind}_configs"}
    assert secrets_of(given(**changes)).keys() == {kind}


def test_a_port_that_speaks_tls_from_the_start_needs_no_starttls() -> None:
    (receiver,) = alertmanager_config(given(email={**EMAIL, "port": 465}))["receivers"]
    assert receiver["email_configs"][0]["smarthost"] == "smtp.example.com:465"
    assert not receiver["email_configs"][0]["require_tls"]


def test_critical_alerts_come_again_each_hour() -> None:
    config = alertmanager_config(given())
    (critical,) = config["route"]["routes"]
    assert (config["route"]["repeat_interval"], critical["repeat_interval"]) == ("12h", "1h")
    assert critical["matchers"] == ['severity="critical"']
    assert {config["route"]["receiver"], critical["receiver"]} == {config["receivers"][0]["name"]}
