import pytest
from tests.web import test_matrix as m
from tests.web.test_matrix import _no_limits
@pytest.mark.parametrize("group", m.GROUPS)
def test_write(group, stores, _no_limits):
    clients=m.actors(group)
    with open("/tmp/id-table.txt","a") as f:
        for route in m.ROUTES:
            if m.group_of(route)==group:
                f.write(m.said(route,m.answers(route,clients)).lstrip()+"\n")
                if route.endswith("logout/"): clients=m.actors(group)
