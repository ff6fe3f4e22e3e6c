"""Bring a new bundle from a bucket while the old one is served."""

import threading

from eimf.errors import UserError
from pipeline.bundles import Place, fetch
from pipeline.http.logs import Log

SECONDS = 30.0
"""Between two looks into the bucket."""


def follow(place: Place, log: Log, seconds: float = SECONDS) -> threading.Event:
    """Look from now on, in a thread that ends with this process or once the event is set: what is fetched is put into
    the folder that is served, which the server looks at itself."""
    end = threading.Event()
    threading.Thread(target=_follow, args=(place, log, seconds, end), name="follow", daemon=True).start()
    return end


def _follow(place: Place, log: Log, seconds: float, end: threading.Event) -> None:
    problem = ""
    while not end.wait(seconds):
        try:
            fetch(place)
            problem = ""
        except (UserError, OSError) as error:  # the old bundle is served on
            if str(error) != problem:  # once, not at every look
                problem = str(error)
                log.write("bundle not fetched", {"problem": problem}, "error")
