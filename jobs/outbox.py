"""The e-mail backend where no SMTP server is configured: one file in the outbox per connection."""

import os
import time
import uuid

from django.core.mail.backends import filebased


class EmailBackend(filebased.EmailBackend):
    """Django's own, with names that no two processes share.

    Django names a file by the second and by `id(self)`, which workers forked from one parent have
    in common: mails that they sent in the same second ended in one file.
    """

    _fname: str | None

    def _get_filename(self) -> str:
        if self._fname is None:
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex}.log"
            self._fname = os.path.join(self.file_path, name)
        return self._fname
