"""The producer: `fault.enqueue(...)` in a Django process."""

import django

from tests.system.peers.producing import produce


def main() -> None:
    django.setup()
    from tests.system.peers.ours.tasks import fault

    produce(lambda job: fault.enqueue(number=job))


if __name__ == "__main__":
    main()
