"""How the API shows itself to a browser."""

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer


class BrowsableRenderer(BrowsableAPIRenderer):
    """Without the inline style for code samples, which the policy refuses and no page here uses."""

    def get_context(
        self,
        data: Any,
        accepted_media_type: str | None,
        renderer_context: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        context = super().get_context(data, accepted_media_type, renderer_context or {})
        return {**context, "code_style": ""}
