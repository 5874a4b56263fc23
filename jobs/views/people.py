"""People and programs: their roles, and who is let in."""

from django.http import HttpResponse

from jobs import accounts, services
from jobs.roles import ROLES
from jobs.views.door import Request, act, live, page


@page("manage_users")
def people(request: Request) -> HttpResponse:
    found = accounts.accounts()
    context = {"accounts": found, "roles": ROLES, "most": accounts.MOST}
    return live(request, "people", context)


@page("manage_users", ("POST",))
def person_role(request: Request, id: str) -> HttpResponse:
    role = request.POST.get("role", "")

    def change() -> str:
        name = services.give_role(id, role, actor=request.user.get_username())
        return f"{name} is {role} from the next request on."

    return act(request, change, "people")


@page("manage_users", ("POST",))
def person_deactivate(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        name = services.set_active(id, False, actor=request.user.get_username())
        return f"{name} is out: sessions and tokens are refused from now on. Nothing is deleted."

    return act(request, change, "people")


@page("manage_users", ("POST",))
def person_activate(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        name = services.set_active(id, True, actor=request.user.get_username())
        return f"{name} may log in again."

    return act(request, change, "people")


@page("manage_users", ("POST",))
def person_unlock(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        name = services.unlock_user(id, actor=request.user.get_username())
        return f"{name} may try to log in again."

    return act(request, change, "people")
