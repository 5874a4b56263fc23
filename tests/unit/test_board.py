import os
import time

from bson import ObjectId

from workers.board import Board, Running


def running(deadline: float = 0.0) -> Running:
    return Running(ObjectId(), 7, time.monotonic(), deadline)


def test_what_a_child_process_writes_its_parent_reads_after_its_death() -> None:
    board, job, boot = Board(2, 3, ["default"]), running(), ObjectId()
    pid = os.fork()
    if pid == 0:
        board.enter(1, boot)
        board.start(1, 2, job)
        os._exit(9)
    os.waitpid(pid, 0)
    assert board.boot(1) == boot
    assert list(board.running(1)) == [job]
    assert list(board.running(0)) == []


def test_a_finished_slot_and_a_cleared_worker_run_nothing() -> None:
    board = Board(1, 2, [])
    board.enter(0, ObjectId())
    board.start(0, 0, running())
    board.start(0, 1, running())
    board.finish(0, 0)
    assert len(list(board.running(0))) == 1
    board.clear(0)
    assert list(board.running(0)) == []
    assert board.boots() == []


def test_only_a_passed_deadline_is_overdue() -> None:
    board, now = Board(1, 2, []), time.monotonic()
    board.start(0, 0, running(deadline=0.0))
    board.start(0, 1, running(deadline=now + 10))
    assert not board.overdue(0, now)
    assert board.overdue(0, now + 11)


def test_paused_queues_are_left_out_in_the_order_given() -> None:
    board = Board(1, 1, ["b", "a", "c"])
    board.set_paused({"a", "unknown"})
    assert board.open_queues() == ["b", "c"]
    board.set_paused(set())
    assert board.open_queues() == ["b", "a", "c"]


def test_only_the_execution_that_has_moved_on_is_told_so() -> None:
    board, job, other = Board(2, 2, []), ObjectId(), ObjectId()
    assert not board.has_moved_on(1, 0, job, 3)
    board.set_moved_on(1, 0, job, 3)
    assert board.has_moved_on(1, 0, job, 3)
    others = [(1, 0, other, 3), (1, 0, job, 4), (1, 1, job, 3), (0, 0, job, 3)]
    assert not any(board.has_moved_on(*place) for place in others)
    board.clear(1)
    assert not board.has_moved_on(1, 0, job, 3)


def test_a_word_that_comes_too_late_does_not_meet_the_next_execution_of_the_slot() -> None:
    board, first, then = Board(1, 1, []), running(), running()
    board.start(0, 0, first)
    board.finish(0, 0)
    board.start(0, 0, then)
    board.set_moved_on(0, 0, first.job, first.claim)
    assert not board.has_moved_on(0, 0, then.job, then.claim)
    assert list(board.running_slots(0)) == [(0, then)]


def test_a_quiet_board_has_no_open_queue_until_it_resumes() -> None:
    board = Board(1, 1, ["b", "a"])
    board.set_paused({"a"})
    board.set_quiet(True)
    assert board.quiet
    assert board.open_queues() == []
    board.set_quiet(False)
    assert board.open_queues() == ["b"]


def test_what_ended_is_summed_over_the_slots_and_forgotten_with_the_boot() -> None:
    board = Board(2, 2, ["default"])
    board.enter(1, ObjectId())
    board.finish(1, 0, done=3, failed=1)
    board.finish(1, 1, done=4, failed=0)
    assert board.ended(1) == (7, 1)
    assert board.pid(1) == os.getpid()
    assert board.ended(0) == (0, 0)
    board.clear(1)
    assert (board.ended(1), board.pid(1)) == ((0, 0), 0)
