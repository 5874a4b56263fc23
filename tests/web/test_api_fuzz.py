"""The whole description against the whole API: schemathesis, every check it knows.

Quick here; `make fuzz` makes thousands of cases with several seeds (FUZZ_EXAMPLES, FUZZ_SEEDS).
"""

import os
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as limits
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from jobs import services
from taskqueue.wsgi import application
from tests.web.actors import dead, submitted, user

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1"))
SEEDS = [int(one) for one in os.environ.get("FUZZ_SEEDS", "1").split(",")]
# What a schema cannot say is refused with 400: a token of no preview, a cursor of no list, a type
# that is not registered. That each other kind of answer is as described is checked in full.
ACCEPTED = ["2xx", "3xx", "400", "401", "403", "404", "409", "410", "413"]
CONFIG = {"checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}}
# The second only where something can be wrong: an address alone cannot.
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture
def token(stores: str, settings: Any) -> str:
    # Thousands of wrong tokens from one address: another answer than the one that is looked for.
    for kind in ("SUBMIT", "READ", "WRITE", "UNKNOWN"):
        setattr(settings, f"RATE_LIMIT_{kind}", 0)
    for _ in range(3):
        submitted(tags=["x1"])
        dead(queue="mail")
    return services.issue_token(user("admin"), actor="tests")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", SEEDS)
def test_what_is_described_is_what_is_answered(token: str, number: int) -> None:
    headers = {"Authorization": f"Token {token}"}
    schema = schemathesis.openapi.from_wsgi(
        "/api/schema/?format=json",
        application,
        headers=headers,
        config=SchemathesisConfig.from_dict(CONFIG),
    )
    answers: Counter[int] = Counter()
    faults: dict[str, str] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in MODES if len(operation.query) or len(operation.body) else MODES[:1]:
            try:
                _fuzz(operation, mode, headers, answers, number)
            except (Exception, BaseExceptionGroup) as error:  # all are told together, each once
                faults[f"{operation.label} {mode.value}"] = _told(error)
    print(f"seed {number}: {answers.total()} cases, {dict(sorted(answers.items()))}")
    assert not faults, "\n\n".join(f"{name}: {fault}" for name, fault in faults.items())
    assert {200, 201, 400, 404} <= set(answers)
    assert max(answers) < 500


def _told(error: BaseException) -> str:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "\n".join([str(error)[:900], *map(_told, inner)])


def _fuzz(
    operation: Any,
    mode: GenerationMode,
    headers: dict[str, str],
    answers: Counter[int],
    number: int,
) -> None:
    cases = operation.as_strategy(generation_mode=mode)

    @seed(number)
    @limits(
        max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=cases)
    def run(case: Any) -> None:
        response = case.call(headers=headers)
        answers[response.status_code] += 1
        case.validate_response(response, headers=headers)

    run()
