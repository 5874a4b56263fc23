"""The entry point for gunicorn: `gunicorn taskqueue.wsgi`."""

import gc
import os

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskqueue.settings")
application = get_wsgi_application()
# Django checks at the start of a command alone. These ask no store.
if _faults := [each for each in run_checks(tags=["jobs"]) if each.is_serious()]:
    raise ImproperlyConfigured("\n".join(f"{each.msg} {each.hint}" for each in _faults))
# The first visitor need not wait until all views are loaded, and nobody for a collection that looks
# through them: it took 100 ms, every few hundred pages.
_ = get_resolver().url_patterns
gc.unfreeze()
gc.collect()
gc.freeze()
