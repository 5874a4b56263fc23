"""API tokens."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.http import HttpResponse

from jobs import selectors, services
from jobs.errors import InvalidRequest
from jobs.forms import TokenForm
from jobs.views.door import READ, Request, act, page, shell


@page("manage_tokens", (*READ, "POST"))
def tokens(request: Request) -> HttpResponse:
    """List them, and make one: it is on the answer to the form, and nowhere else ever after."""
    form = TokenForm(request.user, request.POST if request.method == "POST" else None)
    made = _issued(form, request.user) if form.is_bound and form.is_valid() else None
    now = selectors.now()
    context = {
        "form": TokenForm(request.user) if made else form,
        "made": made,
        "tokens": [(token, token.state(now)) for token in selectors.tokens()],
    }
    return shell(request, "tokens", context, status=400 if form.errors else 200)


def _issued(form: TokenForm, user: User) -> str | None:
    asked, actor = form.cleaned_data, user.get_username()
    try:
        return services.issue_token_to(
            asked["name"],
            asked["role"],
            actor=actor,
            queues=asked["queues"],
            expires_at=asked["days"] and selectors.now() + timedelta(days=asked["days"]),
        )
    except InvalidRequest as refusal:
        for fault in refusal.errors:
            form.add_error(fault.field if fault.field in form.fields else None, fault.message)
        return None


@page("manage_tokens", ("POST",))
def token_revoke(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        revoked = services.revoke_token(id, actor=request.user.get_username())
        return f"{revoked} is revoked: whoever sends it gets 401."

    return act(request, change, "tokens")
