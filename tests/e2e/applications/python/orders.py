"""A service whose authors make spans of their own: with the OpenTelemetry API, and without an SDK or an exporter."""

import logging
import os
import sys
import urllib.request

from flask import Flask
from opentelemetry import trace

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
app = Flask("orders")
tracer = trace.get_tracer("orders")


@app.get("/")
def work():
    """Prices an order within two spans of its own."""
    with tracer.start_as_current_span("price an order") as span:
        span.set_attribute("order.items", 3)
        with tracer.start_as_current_span("add taxes"):
            pass
        if os.environ.get("NEXT"):
            urllib.request.urlopen(os.environ["NEXT"], timeout=5).close()
    logging.getLogger("orders").info("orders served a request")
    return {"service": "orders", "next": None}


@app.get("/health")
def health():
    """Whether it answers at all."""
    return {}
