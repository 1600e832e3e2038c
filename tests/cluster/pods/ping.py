"""Runs in a pod: prints what Valkey at the URL of REDIS_URL answers."""

import os
import sys

import redis

if __name__ == "__main__":
    client = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=10, socket_connect_timeout=10)
    sys.stdout.write(str(client.ping()))
