"""How the API shows itself to a browser."""

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer


class BrowsableRenderer(BrowsableAPIRenderer):
    """Without the inline style for code samples, which the policy refuses and no page here uses."""

    def get_context(self, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        return {**super().get_context(*args, **kwargs), "code_style": ""}
