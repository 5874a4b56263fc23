from jobs import services
from jobs.clients import collection
from tests.system.conftest import fill


def test_with_one_worker_busy_jobs_finish_high_medium_low_and_in_order(tree, until, all_in):
    busy = services.enqueue("sleep", {"seconds": 1}, priority="low")
    tree("--processes", "1")
    until(lambda: collection("jobs").find_one({"status": "running"}))
    given = [
        (priority, services.enqueue("sleep", {"seconds": 0.01}, priority=priority))
        for _ in range(10)
        for priority in ("low", "high", "medium")
    ]
    all_in("completed")
    lane_of = {id: priority for priority, id in given}
    ended = collection("jobs").find().sort("finished_at", 1)
    claimed = [str(job["_id"]) for job in ended if str(job["_id"]) != busy]
    lanes = [lane_of[id] for id in claimed]
    assert lanes == ["high"] * 10 + ["medium"] * 10 + ["low"] * 10
    for name in ("high", "medium", "low"):
        asked = [id for lane, id in given if lane == name]
        assert [id for id in claimed if id in asked] == asked


def test_a_paused_queue_waits_while_others_go_on_and_runs_when_resumed(tree, until, all_in):
    fill(1, queue="a")
    services.pause("a", actor="test")
    fill(1, queue="b")
    tree("--processes", "1", "--queues", "a,b")
    until(lambda: collection("jobs").find_one({"queue": "b", "status": "completed"}))
    later = fill(1, queue="a")
    fill(1, queue="b")
    until(lambda: collection("jobs").count_documents({"queue": "b", "status": "completed"}) == 2)
    assert collection("jobs").find_one({"queue": "a", "status": "completed"}) is None or later
    services.resume("a", actor="test")
    all_in("completed")
