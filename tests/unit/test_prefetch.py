from workers.prefetch import LEAST, MOST, Prefetch


def grown() -> Prefetch:
    prefetch = Prefetch()
    for _ in range(20):
        prefetch.ran(prefetch.count, 0.001, 0.001)
    return prefetch


def test_it_starts_at_one_and_doubles_while_full_batches_are_quick() -> None:
    prefetch, counts = Prefetch(), []
    for _ in range(4):
        counts.append(prefetch.count)
        prefetch.ran(prefetch.count, 0.001, 0.001)
    assert counts == [1, 2, 4, 8]
    assert grown().count == MOST


def test_a_batch_that_was_not_full_says_nothing_about_a_larger_one() -> None:
    prefetch = Prefetch()
    prefetch.ran(1, 0.001, 0.001)
    prefetch.ran(1, 0.001, 0.001)
    assert prefetch.count == 2


def test_one_slow_job_brings_it_back_to_one() -> None:
    prefetch = grown()
    prefetch.ran(200, 1.0, 0.9)
    assert prefetch.count == LEAST


def test_many_quick_jobs_that_are_slow_together_halve_it() -> None:
    prefetch = grown()
    prefetch.ran(200, 0.2, 0.001)
    assert prefetch.count == MOST // 2


def test_a_batch_that_waited_until_it_was_given_back_brings_it_back_to_one() -> None:
    prefetch = grown()
    prefetch.ran(200, 0.3, 0.001)
    assert prefetch.count == LEAST
