"""An ordinary service that knows nothing of telemetry: it answers, and asks the next one (NEXT)."""

import json
import logging
import os
import sys
import urllib.request

from flask import Flask

if os.environ.get("CRASH_WITH_AGENT") and "/var/odigos" in os.environ.get("PYTHONPATH", ""):
    sys.exit("pricing cannot work with an agent")

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
app = Flask("pricing")


@app.get("/")
def work():
    """Asks the next service and answers."""
    following = None
    if os.environ.get("NEXT"):
        with urllib.request.urlopen(os.environ["NEXT"], timeout=5) as answer:
            following = json.load(answer)
    logging.getLogger("pricing").info("pricing served a request")
    return {"service": "pricing", "next": following}


@app.get("/health")
def health():
    """Whether it answers at all."""
    return {}


@app.get("/options")
def options():
    """What the user has asked of the runtime, and got."""
    import chosen

    return {"option": chosen.OPTION}
