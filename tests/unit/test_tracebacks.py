import traceback

from jobs.tracebacks import fold

TEXT = """Traceback (most recent call last):
  File "/srv/workers/execution.py", line 35, in execute
    result = job_type.run(payload)
             ^^^^^^^^^^^^^^^^^^^^^
  File "/srv/jobs/registry.py", line 150, in run
    return self.function(**arguments)
  File "/srv/shop/tasks.py", line 7, in charge
    requests.post(url)
  File "/venv/lib/python3.11/site-packages/requests/api.py", line 9, in post
    return request("post")
  File "/usr/lib/python3.11/socket.py", line 9, in connect
    raise ConnectionError("no route")
ConnectionError: no route

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/tasks.py", line 9, in charge
    raise Declined from error
shop.Declined: card "4711"
"""


def test_own_frames_are_left_and_each_run_of_others_is_one_line() -> None:
    folded = fold(TEXT)
    assert folded.frames == 4
    assert folded.text.split("\n")[:7] == [
        "Traceback (most recent call last):",
        "  … 2 frames of other code",
        '  File "/srv/shop/tasks.py", line 7, in charge',
        "    requests.post(url)",
        "  … 2 frames of other code",
        "ConnectionError: no route",
        "",
    ]
    assert folded.text.endswith('shop.Declined: card "4711"\n')
    assert "site-packages" not in folded.text


def test_a_traceback_of_own_code_alone_is_left_as_it_is() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        text = traceback.format_exc()
    assert fold(text).text == text
    assert fold(text).frames == 0
    assert fold("").text == ""
